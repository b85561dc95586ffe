"""The provider under the real Pulumi CLI."""

import json
import re
from pathlib import Path

import pytest

from tests import requires
from tests.clients.pulumi.environment import TOKEN, Environment
from tests.clients.pulumi.interruptions import proxy
from tests.clients.pulumi.project import Project

pytestmark = requires.PULUMI


@pytest.fixture
def project(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project.create(environment, tmp_path_factory.mktemp("project"))


def key(resource: str, destination: str, *arguments: str) -> str:
    words = ", ".join((f'name="{resource}"', f"destination={destination}", *arguments))
    return f'key = gatehouse.Key("{resource}", {words})'


def assert_no_token_is_shown(project: Project) -> None:
    """In the output of all commands, and in all files of the engine."""
    assert project.environment.tokens_shown() == []
    assert TOKEN.findall(project.files()) == []


def test_life_of_a_stack(project: Project, environment: Environment) -> None:
    secret = environment.create_secret("life")
    program = [
        'plan = gatehouse.Plan("starter", name="starter", scopes=["orders:read"],',
        '    limits=[{"name": "requests", "quota": 60, "window_s": 60}])',
        'acme = gatehouse.Customer("acme", customer_id="acme", plan=plan.name)',
        key("life-file", '{"file": "token.txt"}', "customer_id=acme.customer_id"),
        key("life-aws", f'{{"secret": "{secret}"}}', "ttl_s=86400"),
        'gatehouse.RoleKey("r", name="reports", role="auditor", destination={"file": "role.txt"})',
        'gatehouse.Core("docs", name="docs", destination={"file": "core.txt"})',
        'gatehouse.Limit("sign-in", name="sign-in", quota=5, window_s=900)',
        'gatehouse.Webhook("hook", url="https://8.8.8.8/part-of-the-url",',
        '    destination={"file": "hook.txt"})',
        'pulumi.export("key_id", key.key_id)',
        'pulumi.export("destination", key.destination)',
    ]
    project.write(*program)
    project.pulumi("preview", "--json")
    project.pulumi("up", "--yes", "--skip-preview", "--json")
    for name in ("token", "role", "core", "hook"):
        assert TOKEN.fullmatch((project.folder / f"{name}.txt").read_text())
    assert TOKEN.fullmatch(environment.secret_value("life"))
    assert "part-of-the-url" not in project.pulumi("stack", "export")
    project.pulumi("preview", "--diff", "--expect-no-changes")
    project.pulumi("refresh", "--yes", "--expect-no-changes")

    # A change in the program, and one by hand.
    project.write(*(line.replace("60", "70") for line in program))
    assert re.search(r"quota *: 60 => 70", project.pulumi("preview", "--diff"))
    project.up()
    version = environment.console.customer("acme").version
    environment.console.update_customer("acme", version, notes="by hand")
    assert re.search(r'notes *: .*"by hand"', project.pulumi("refresh", "--yes", "--diff"))
    project.up()
    assert environment.console.customer("acme").notes == ""

    # A key that was revoked by hand.
    environment.console.revoke_key(project.state()["life-file"]["outputs"]["key_id"])
    project.pulumi("refresh", "--yes")
    project.up()
    assert len(environment.usable("life-file")) == 1

    assert_no_token_is_shown(project)
    project.pulumi("destroy", "--yes")
    assert environment.usable("life-file") + environment.usable("life-aws") == []
    assert_no_token_is_shown(project)


def test_objects_are_imported(project: Project, environment: Environment) -> None:
    created = environment.console.create_key(name="imported", scopes=["orders:read"])
    environment.console.create_plan(name="business")
    environment.console.create_customer(id="globex")
    for kind, name, id in (
        ("Plan", "business", "business"),
        ("Customer", "globex", "globex"),
        ("Key", "imported", "imported"),
    ):
        project.write()
        project.pulumi(
            *("import", f"gatehouse:index:{kind}", name, id),
            *("--yes", "--skip-preview", "--protect=false"),
        )
    assert project.state()["imported"]["id"] == created.key.id
    # By a resource option, with the token at its destination.
    (project.folder / "t.txt").write_text(created.token or "")
    scopes = 'scopes=["orders:read"], environment="test"'
    project.write(
        key("imported", '{"file": "t.txt"}', scopes),
        'gatehouse.Plan("business", name="business")',
        'gatehouse.Customer("globex", customer_id="globex", name="globex")',
        'gatehouse.Plan("again", pulumi.ResourceOptions(import_="business"), name="business")',
    )
    project.up()
    assert (project.folder / "t.txt").read_text() == created.token
    assert environment.usable("imported") == [created.key.id]
    assert_no_token_is_shown(project)


def test_key_is_rotated_kept_and_replaced(project: Project, environment: Environment) -> None:
    target = '{"file": "t.txt"}'
    project.write(key("rotated", target, "rotate_after_s=1"))
    project.up()
    first = project.state()["rotated"]
    token = (project.folder / "t.txt").read_text()
    assert "(update)" in project.pulumi("preview", "--diff")
    project.up()
    second = project.state()["rotated"]
    assert (second["id"], second["outputs"]["key_id"]) == (first["id"], second["outputs"]["key_id"])
    assert (project.folder / "t.txt").read_text() != token
    assert first["outputs"]["key_id"] in environment.usable("rotated")  # the grace period

    project.write(key("rotated", target, 'environment="live"'))
    project.up()
    assert (project.folder / "t.txt").read_text().startswith("gtk_live_")
    kept = "opts=pulumi.ResourceOptions(retain_on_delete=True)"
    project.write(key("rotated", target, 'environment="live"', kept))
    project.up()
    project.pulumi("destroy", "--yes")
    live = [key for key in environment.keys("rotated") if key["environment"] == "live"]
    assert [each["state"] for each in live] == ["active"]
    assert_no_token_is_shown(project)


@pytest.mark.parametrize("step", ["POST /v1/keys", "PutSecretValue"])
def test_killed_command_leaves_one_key(
    step: str, project: Project, environment: Environment
) -> None:
    """The engine and the provider end in the middle of a request."""
    name = f"killed-{step[:3].lower()}"
    environment.create_secret(name)
    project.write(key(name, f'{{"secret": "{name}"}}'))
    with proxy(environment.url) as console, proxy(environment.emulator.endpoint) as aws:

        def on_handled(method: str, path: str, call: str) -> bool:
            if call == "replay" or step not in f"{method} {path} {call}":
                return False
            project.kill()
            return True

        console.on_handled = aws.on_handled = on_handled
        urls = {"GATEHOUSE_CONSOLE_URL": console.url, "AWS_ENDPOINT_URL": aws.url}
        project.fails("up", "--yes", "--skip-preview", **urls)
    # A provider that outlives its engine for a moment revokes the key whose token it cannot write.
    assert len(environment.usable(name)) <= 1
    project.pulumi("cancel", "--yes")
    project.up()
    assert environment.usable(name) == [project.state()[name]["outputs"]["key_id"]]
    assert TOKEN.fullmatch(environment.secret_value(name))
    assert_no_token_is_shown(project)


def test_failed_rotation_is_in_the_state_and_continues(
    project: Project, environment: Environment
) -> None:
    environment.create_secret("failed")
    project.write(key("failed", '{"secret": "failed"}', "rotate_after_s=1"))
    project.up()
    with environment.reader("secretsmanager:DescribeSecret") as denied:
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        credentials = {name: denied[name] for name in names}
        output = project.fails("up", "--yes", "--skip-preview", **credentials)
    assert "destination.secret: PutSecretValue of failed" in output
    assert "gatehouse:index:Key" in output
    assert "failed" in output
    pending = project.state()["failed"]["outputs"]["pending"]
    assert pending.startswith("/v1/keys/")
    project.write(key("failed", '{"secret": "failed"}'))
    project.up()
    state = project.state()["failed"]["outputs"]
    assert (state["pending"], state["written_id"]) == ("", state["key_id"])
    assert environment.secret_value("failed").split("_")[2].startswith(state["key_id"])
    project.pulumi("preview", "--expect-no-changes")
    assert_no_token_is_shown(project)


def test_example_is_deployed(project: Project, environment: Environment) -> None:
    example = Path(__file__).parents[3] / "examples/keys-as-code"
    settings = (example / "Pulumi.dev.yaml").read_text()
    with (project.folder / "Pulumi.dev.yaml").open("a") as file:
        file.write(settings.replace("keys-as-code:", "keys:"))
    (project.folder / "__main__.py").write_text((example / "__main__.py").read_text())
    project.up()
    names = {path.name for path in project.folder.glob("*.token")}
    assert names == {"reports.token", "shop-1.token", "shop-2.token"}
    outputs = json.loads(project.pulumi("stack", "output", "--json"))
    assert outputs.keys() == {"shop-1", "shop-2"}
    project.pulumi("destroy", "--yes")
    assert_no_token_is_shown(project)
