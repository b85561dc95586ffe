"""The provider under pulumi_local, as `make up` runs it."""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pulumi_local.engine.checkpoint import Checkpoint
from pulumi_local.engine.plugin import ProviderPlugin
from pulumi_local.engine.steps import Step
from pulumi_local.engine.update import destroy, update
from pulumi_local.errors import CommandError
from pulumi_local.outputs.providers import FakeProvider
from pulumi_local.runner import run
from pulumi_local.types import Deployment

from tests.clients.pulumi.environment import TOKEN, Environment

EXAMPLE = Path(__file__).parents[3] / "examples" / "keys-as-code"


@dataclass
class Stack:
    environment: Environment
    program: Path
    tokens: Path
    name: str = "dev"
    checkpoint: Checkpoint = field(default_factory=Checkpoint)

    def write(self, *lines: str) -> None:
        (self.program / "Pulumi.yaml").write_text("name: local\nruntime: python\n")
        (self.program / f"Pulumi.{self.name}.yaml").write_text("")
        header = ("import pulumi", "import gatehouse_pulumi as gatehouse")
        (self.program / "__main__.py").write_text("\n".join([*header, *lines]))

    @contextmanager
    def provider(self, **variables: str) -> Iterator[ProviderPlugin]:
        inherited = self.environment.variables
        path = f"{Path(sys.executable).parent}{os.pathsep}{inherited['PATH']}"
        env, log = {**inherited, "PATH": path, **variables}, self.tokens / "plugin.log"
        plugin = ProviderPlugin.start("gatehouse", env=env, folder=self.tokens, log=log)
        yield plugin
        plugin.stop()
        self.environment.shown.append(log.read_text())

    def up(self, **variables: str) -> list[str]:
        """The steps, such as "update shop limits"."""
        self.deployment, steps = self.deploy(variables)
        return steps

    def deploy(self, variables: Mapping[str, str]) -> tuple[Deployment, list[str]]:
        steps: list[Step] = []
        with self.provider(**variables) as provider:
            provider.refresh(self.checkpoint)
            deployment = update(
                self.program, self.name, provider, self.checkpoint, report=steps.append
            )
        return deployment, [
            " ".join((step.operation, step.name, *step.properties)) for step in steps
        ]

    def fails(self, **variables: str) -> str:
        with pytest.raises(CommandError) as caught:
            self.up(**variables)
        self.environment.shown.append(caught.value.message)
        return caught.value.message

    def destroy(self) -> list[str]:
        steps: list[Step] = []
        with self.provider() as provider:
            destroy(provider, self.checkpoint, steps.append)
        return [f"{step.operation} {step.name}" for step in steps]

    def token(self, name: str) -> str:
        return (self.tokens / name).read_text()


@pytest.fixture
def stack(environment: Environment, tmp_path: Path) -> Iterator[Stack]:
    program, tokens = tmp_path / "program", tmp_path / "tokens"
    program.mkdir()
    tokens.mkdir()
    stack = Stack(environment, program, tokens)
    yield stack
    assert environment.tokens_shown() == []
    assert TOKEN.findall(repr(stack.checkpoint.entries)) == []


def test_example_is_deployed_and_destroyed(stack: Stack, environment: Environment) -> None:
    shutil.copytree(EXAMPLE, stack.program, dirs_exist_ok=True)
    stack.name = "local"
    steps = stack.up()
    assert sorted(steps) == sorted(
        f"create {name}" for name in ("starter", "globex", "globex", "initech", "initech", "docs")
    )
    files = sorted(path for path in stack.tokens.iterdir() if path.suffix == ".token")
    assert [path.name for path in files] == ["docs.token", "globex.token", "initech.token"]
    for path in files:
        assert TOKEN.fullmatch(path.read_text())
    assert stack.deployment.exports.keys() == {"globex", "initech"}
    assert stack.up() == []
    assert len(stack.destroy()) == 6
    assert list(stack.program.glob("*.token")) == []
    assert environment.usable("Core docs") == []


def test_changes_of_the_program_and_by_hand(stack: Stack, environment: Environment) -> None:
    program = (
        'gatehouse.Customer("hand", customer_id="hand", tags=["a"])',
        'key = gatehouse.Key("hand", name="by hand", destination={"file": "hand"}, tags=["a"])',
    )
    stack.write(*program)
    stack.up()
    token = stack.token("hand")
    environment.console.update_customer(
        "hand", environment.console.customer("hand").version, notes="by hand"
    )
    assert stack.up() == ["update hand notes"]
    assert environment.console.customer("hand").notes == ""
    stack.write(*(line.replace('"a"', '"b"') for line in program))
    assert stack.up() == ["update hand tags", "update hand tags"]
    assert stack.token("hand") == token
    environment.console.revoke_key(environment.usable("by hand")[0])
    assert stack.up() == ["create hand"]
    assert stack.token("hand") != token
    assert len(environment.usable("by hand")) == 1


def test_replacement_is_created_first_although_it_keeps_its_name(
    stack: Stack, environment: Environment
) -> None:
    """The provider decides, and not what is known of AWS."""
    line = 'gatehouse.Key("moved", name="moved", destination={"file": "moved"}, environment="%s")'
    stack.write(line % "test")
    stack.up()
    stack.write(line % "live")
    assert stack.up() == ["replace moved environment", "delete moved"]
    assert stack.token("moved").startswith("gtk_live_")
    assert len(environment.usable("moved")) == 2  # the grace period of the first


def test_interrupted_rotation_continues(stack: Stack, environment: Environment) -> None:
    for name in ("first", "second"):
        environment.create_secret(name)
    line = 'gatehouse.Key("turned", name="turned", destination={"secret": "%s"})'
    stack.write(line % "first")
    stack.up()
    stack.write(line % "second")
    actions = ("secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue")
    with environment.reader(*actions) as denied:
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        message = stack.fails(**{name: denied[name] for name in names})
    assert message.startswith("__main__.py:3: urn:pulumi:dev::local::gatehouse:index:Key::turned:")
    assert "PutSecretValue of second failed (AccessDeniedException)" in message
    assert [step.split()[:2] for step in stack.up()] == [["update", "turned"]]
    assert TOKEN.fullmatch(environment.secret_value("second"))
    assert len(environment.usable("turned")) == 2  # the grace period of the first
    assert stack.up() == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('gatehouse.Plan("p", name="p", ttl_s="long")', "ttl_s must be an integer"),
        ('gatehouse.Plan("p", name="p", description="x" * 9999)', "description"),
        ('gatehouse.Plan("p", name=1 / 0)', "ZeroDivisionError"),
    ],
)
def test_errors_have_the_line_of_the_program(stack: Stack, line: str, message: str) -> None:
    stack.write(line)
    error = stack.fails()
    assert error.startswith("__main__.py:3: ")
    assert message in error


def test_resources_of_the_example_have_its_lines() -> None:
    """The package is in the same repository, and not installed as other libraries are."""
    deployment = run(EXAMPLE, "local", FakeProvider(), preview=False)
    sources = [
        resource.registration.source.partition(":")[0]
        for resource in deployment.resources
        if resource.registration.type.startswith("gatehouse:")
    ]
    assert sources == ["__main__.py"] * 6


def test_errors_of_the_provider(stack: Stack) -> None:
    stack.write('gatehouse.Plan("p", name="p")')
    assert "GATEHOUSE_ADMIN_TOKEN" in stack.fails(GATEHOUSE_ADMIN_TOKEN="")
    assert "cannot reach" in stack.fails(GATEHOUSE_CONSOLE_URL="http://127.0.0.1:1")
    programs = stack.tokens / "bin"
    programs.mkdir()
    with pytest.raises(CommandError, match=r"pulumi-resource-gatehouse .* does not exist"):
        stack.up(PATH=str(programs))
    plugin = programs / "pulumi-resource-gatehouse"
    plugin.write_text("#!/bin/sh\necho no such library >&2\n")
    plugin.chmod(0o700)
    with pytest.raises(CommandError, match=r"did not start[^\0]*no such library"):
        stack.up(PATH=f"{programs}:/usr/bin:/bin")
