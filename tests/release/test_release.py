"""Order of a deployment, failures of each step, and rollback."""

from typing import Any

import pytest

from tests.release.fake_aws import LOCK, NEW, OLD, SERVICES, FakeAccount, own_stack_file


@pytest.mark.requirement("TR-17")
def test_migration_runs_before_services_change(account: FakeAccount) -> None:
    result = account.release("deploy", "--yes")
    assert result.returncode == 0, result.stderr
    assert account.steps == ["preview", "up without services", "run gatehouse-dev-migrate:2", "up"]
    assert "verified: gatehouse-dev-console, gatehouse-dev-gateway" in result.stdout


SHARING = {"function": "gatehouse-dev-sharing", "alias": "live", "alarms": [], "api": "a1b2c3d4e5"}


MIGRATE = (
    "urn:pulumi:dev::gatehouse::gatehouse:compute:TaskDefinition"
    "$aws:ecs/taskDefinition:TaskDefinition::migrate"
)


def serverless() -> str:
    sharing = "    sharing:\n      mode: serverless\n"
    return own_stack_file().replace(
        "  gatehouse:settings:\n", f"  gatehouse:settings:\n{sharing}", 1
    )


@pytest.mark.requirement("SS-06", "SS-09")
def test_function_that_fails_its_smoke_test_stops_the_deployment(account: FakeAccount) -> None:
    account.functions, account.smoke_test = {"sharing": {**SHARING, "version": "2"}}, 503
    result = account.release("deploy", "--yes", stack_file=serverless())
    assert result.returncode == 1
    first = ["preview", "up without services and aliases", "run gatehouse-dev-migrate:2"]
    assert account.steps == [*first, "invoke 2"]
    assert "version 2 failed its smoke test: /readyz returned 503." in result.stderr


def test_ids_of_what_changes_are_printed_before_the_confirmation(account: FakeAccount) -> None:
    """Others can write the state. The preview also does not count what waits for deletion."""
    start = "urn:pulumi:dev::gatehouse::aws:"
    deleted, same = f"{start}s3/bucket:Bucket::x", f"{start}s3/bucket:Bucket::y"
    account.resources = [
        {"urn": MIGRATE, "id": "gatehouse-prod-migrate"},
        {"urn": deleted, "id": "b", "delete": True},
        {"urn": same, "id": "y"},
    ]
    printed = account.release("deploy").stdout
    assert f", replace: {MIGRATE} (gatehouse-prod-migrate)\n" in printed
    assert (f"> delete: {deleted} (b)\n" in printed, same in printed) == (True, False)
    destroyed = account.release("destroy").stdout
    assert f"> delete: {same} (y)\n" in destroyed


def test_traffic_of_functions_of_other_stacks_is_not_shifted(account: FakeAccount) -> None:
    other = {**SHARING, "function": "gatehouse-prod-sharing", "version": "2"}
    account.functions, account.smoke_test = {"sharing": other}, 503
    result = account.release("deploy", "--yes", stack_file=serverless())
    assert (result.returncode, account.steps[-1]) == (1, "run gatehouse-dev-migrate:2")
    assert "the function sharing of the stack dev has another name" in result.stderr


@pytest.mark.parametrize(
    ("functions", "update"),
    [
        # The image is unchanged.
        ({"sharing": {**SHARING, "version": "1"}}, "up without services and aliases"),
        # The function does not exist yet.
        ({}, "up without services"),
    ],
)
def test_traffic_is_shifted_only_to_a_new_version(
    account: FakeAccount, functions: dict[str, dict[str, object]], update: str
) -> None:
    account.functions = dict(functions)
    result = account.release("deploy", "--yes", stack_file=serverless())
    assert result.returncode == 0, result.stderr
    assert account.steps == ["preview", update, "run gatehouse-dev-migrate:2", "up"]
    assert "the previous version" not in result.stdout


def test_unhealthy_service_fails_verification(account: FakeAccount) -> None:
    # After a rollback, health is checked once only.
    account.unhealthy, account.rolls_back = ("sharing",), True
    result = account.release("verify")
    assert result.returncode == 1
    assert f"verify: sharing: {account.url}/sharing/healthz returned 503" in result.stderr


def test_failed_migration_leaves_services_unchanged(account: FakeAccount) -> None:
    account.migration = 1
    result = account.release("deploy", "--yes")
    assert result.returncode == 1
    assert account.steps[-1].startswith("run ")
    assert account.running == {"gateway": 1, "console": 1}
    assert (
        "deploy: the migration task abc failed: migrate exited with 1. Essential container exited\n"
        "deploy: Logs: make logs ENV=dev PROCESS=migrate\n"
        "deploy: The ECS services were not changed.\n"
    ) in result.stderr


@pytest.mark.parametrize(
    ("command", "fields", "status", "steps", "message"),
    [
        ("deploy", {"preview": 255}, 1, ["preview"], "pulumi preview exited with 255"),
        (
            "deploy",
            {"describe_error": "AccessDeniedException"},
            1,
            ["preview"],
            "cannot describe the ECS services (AccessDeniedException). Nothing was changed.\n",
        ),
        ("rollback", {"pushed": {}}, 2, [], "gateway has no earlier deployment of another image"),
        (
            "verify",
            {"undeployed": ("services",)},
            2,
            [],
            "the output 'services' of the stack dev is not deployed yet. Run: make deploy "
            "ENV=dev\n",
        ),
    ],
)
def test_command_that_cannot_continue_changes_nothing(
    account: FakeAccount,
    command: str,
    fields: dict[str, object],
    status: int,
    steps: list[str],
    message: str,
) -> None:
    for name, value in fields.items():
        setattr(account, name, value)
    result = account.release(command, *([] if command == "verify" else ["--yes"]))
    assert (result.returncode, account.steps, account.digest()) == (status, steps, NEW)
    assert message in result.stderr
    assert "is delegated to" not in result.stdout


@pytest.mark.parametrize("stdin", ["", "prod\n"])
def test_unconfirmed_deployment_changes_nothing(account: FakeAccount, stdin: str) -> None:
    result = account.release("deploy", stdin=stdin)
    assert (result.returncode, account.steps) == (1, ["preview"])
    assert "not confirmed" in result.stderr


@pytest.mark.requirement("SS-09", "TR-17")
def test_rollback_deploys_previous_image_without_migration(account: FakeAccount) -> None:
    account.running, account.expected = dict.fromkeys(account.running, 2), 2
    result = account.release("rollback", "--yes")
    assert result.returncode == 0, result.stderr
    assert account.digest() == OLD
    assert account.steps == ["preview", "up"]


def test_unconfirmed_rollback_restores_the_stack_file(account: FakeAccount) -> None:
    result = account.release("rollback", stdin="no\n")
    assert (result.returncode, account.digest()) == (1, NEW)


@pytest.mark.parametrize(
    ("target", "message"), [(NEW, "already contains"), ("latest", "'latest' is not a digest")]
)
def test_invalid_rollback_target_is_rejected(
    account: FakeAccount, target: str, message: str
) -> None:
    assert message in account.refusal("rollback", "--yes", "--digest", target)


def test_placeholder_image_is_rejected(account: FakeAccount) -> None:
    error = account.refusal("deploy", "--yes", image=f"sha256:{'0' * 64}")
    assert "Pulumi.dev.yaml contains no image" in error


@pytest.mark.requirement("SS-08", "SS-09")
@pytest.mark.parametrize("rollback", [False, True])
@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ("rolls_back", "deploy: gatehouse-dev-gateway: ECS rolled the deployment back."),
        ("failed_updates", "deploy: pulumi up exited with 255; see its output above."),
    ],
)
def test_previous_image_is_deployed_if_the_services_fail(
    account: FakeAccount, failure: str, message: str, rollback: bool
) -> None:
    account.recovers = rollback
    setattr(account, failure, 1)
    options = ["--rollback"] if rollback else []
    result = account.release("deploy", "--yes", *options)
    assert result.returncode == 1
    assert message in result.stderr
    steps = ["preview", "up without services", "run gatehouse-dev-migrate:2", "up"]
    assert account.steps == steps + ["preview", "up"] * rollback
    assert account.digest() == (OLD if rollback else NEW)
    assert result.stderr.endswith(
        "deploy: the services were not deployed; the stack dev runs the previous image again\n"
        if rollback
        else "deploy: To deploy the previous image, run: make rollback ENV=dev\n"
    )


@pytest.mark.requirement("SS-08")
def test_verification_uses_the_canary_key(account: FakeAccount) -> None:
    account.running, account.canary = dict.fromkeys(SERVICES, account.expected), True
    result = account.release("verify")
    assert result.returncode == 0
    assert "the canary key was verified, and a request with it reached the Core" in result.stdout
    account.canary = None
    assert "the canary key was not used" in account.release("verify").stdout


@pytest.mark.requirement("SS-08")
def test_previous_image_is_deployed_if_the_canary_key_cannot_be_used(account: FakeAccount) -> None:
    account.canary, account.recovers = False, True
    result = account.release("deploy", "--yes", "--rollback")
    assert result.returncode == 1
    assert "log group of the function gatehouse-dev-probe names the problem" in result.stderr
    assert account.digest() == OLD


EXPIRED = (
    "AWS rejected the credentials (ExpiredToken). Run: aws sso login, or set AWS_PROFILE. "
    "Then run: make deploy ENV=dev"
)


@pytest.mark.parametrize(
    ("step", "cause", "message"),
    [
        ("run gatehouse-dev-migrate:2", {"rejection": "ExpiredToken"}, EXPIRED),
        ("up", {"rejection": "ExpiredToken"}, EXPIRED),
        ("up", {"locks": [LOCK]}, "the stack dev is locked by ada@laptop (process 4711) since "),
    ],
)
def test_failure_that_a_rollback_would_repeat_is_reported(
    account: FakeAccount, step: str, cause: dict[str, Any], message: str
) -> None:
    def fail(call: str, result: dict[str, Any]) -> dict[str, Any]:
        if step not in account.steps:
            return result
        vars(account).update(cause)
        return result | ({"code": 255} if call == "up" else {})

    account.intercept = fail
    result = account.release("deploy", "--yes", "--rollback")
    assert (result.returncode, account.steps[-1], account.digest()) == (1, step, NEW)
    assert f"deploy: {message}" in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "step"),
    [
        (("deploy", "--rollback"), "preview"),
        (("deploy", "--rollback"), "run gatehouse-dev-migrate:2"),
        (("deploy", "--rollback"), "up without services"),
        (("destroy",), "preview of the destruction"),
        (("rollback", "--digest", OLD), "preview"),
    ],
)
def test_state_that_others_replace_after_the_preview_is_not_used(
    account: FakeAccount, words: tuple[str, ...], step: str
) -> None:
    row: dict[str, Any] = {"urn": "urn:pulumi:dev::gatehouse::aws:s3/bucket:Bucket::x"}
    if step.startswith("up"):  # a replacement of this resource is planned
        row = {"urn": MIGRATE, "id": "gatehouse-prod-migrate", "delete": True}

    def replace(call: str, result: dict[str, Any]) -> dict[str, Any]:
        if account.steps[-1:] == [step]:
            account.resources = [row]
        return result

    account.intercept = replace
    result = account.release(*words, stdin="dev\n")
    assert (result.returncode, account.steps[-1], account.digest()) == (1, step, NEW)
    assert result.stderr == (
        f"{words[0]}: another command updated the stack dev after the preview. To continue, run: "
        f"make {words[0]} ENV=dev{''.join(f' DIGEST={word}' for word in words[2:])}\n"
    )


@pytest.mark.parametrize("words", [("deploy", "--yes", "--rollback"), ("rollback", "--yes")])
def test_failed_rollback_can_be_repeated(account: FakeAccount, words: tuple[str, ...]) -> None:
    account.rolls_back = True
    result = account.release(*words)
    assert (result.returncode, account.digest()) == (1, NEW)
    assert "runs the previous image again" not in result.stderr


def test_rollback_whose_outputs_cannot_be_read_can_be_repeated(account: FakeAccount) -> None:
    account.intercept = lambda call, result: (
        {"code": 1} if call == "stack" and account.steps[-1:] == ["up"] else result
    )
    result = account.release("rollback", "--yes")
    assert (result.returncode, account.steps[-1], account.digest()) == (2, "up", NEW)


@pytest.mark.parametrize(
    ("preview", "stdin", "code", "steps"),
    [
        (0, "dev\n", 0, ["preview of the destruction", "destroy"]),
        (0, "yes\n", 2, ["preview of the destruction"]),
        (255, "dev\n", 255, ["preview of the destruction"]),  # a protected resource
    ],
)
def test_stack_is_destroyed_after_a_preview_and_a_confirmation(
    account: FakeAccount, preview: int, stdin: str, code: int, steps: list[str]
) -> None:
    account.preview = preview
    result = account.release("destroy", stdin=stdin)
    assert (result.returncode, account.steps) == (code, steps)
