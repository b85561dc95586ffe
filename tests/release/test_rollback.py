"""`make rollback`: stop of a deployment in progress, the previous image, and its deployment."""

from typing import Any

import pytest

from release.pulumi.stack import Stack
from release.rollback import POLL_S, STOP_TIMEOUT_S
from release.rollback import stop_deployments as stop
from tests.release.fake_aws import ACCOUNT, FAILED, NEW, OLD
from tests.release.fake_cli import FakePulumi, deployed, name, own_stack_file


@pytest.fixture
def account(account: FakePulumi) -> FakePulumi:
    return deployed(account, NEW)


def deploying(account: FakePulumi, status: str = "IN_PROGRESS", process: str = "gateway") -> None:
    """ECS deploys the newest task definition of a service; the tasks of OLD still run."""
    cluster = f"arn:aws:ecs:eu-west-1:{ACCOUNT}:service/gatehouse-dev-main"
    account.deployments.append(
        {
            "serviceArn": f"{cluster}/{name(process)}",
            "serviceDeploymentArn": f"arn:aws:ecs:deployment/{process}",
            "status": status,
            "previous": account.revisions(name(process))[0],
        }
    )


def test_previous_image_is_deployed_without_a_migration(account: FakePulumi) -> None:
    result = account.release("rollback", "--yes")
    assert (result.returncode, account.steps) == (0, ["preview", "up"]), result.stderr
    assert (account.digest(), account.images()) == (OLD, {OLD})


@pytest.mark.parametrize("status", ["PENDING", "IN_PROGRESS", "ROLLBACK_IN_PROGRESS"])
def test_deployment_in_progress_is_stopped_first(account: FakePulumi, status: str) -> None:
    deploying(account, status)
    deploying(account, "SUCCESSFUL", "console")
    result = account.release("rollback", stdin="dev\ndev\n")
    assert result.returncode == 0, result.stderr
    assert account.steps == [f"stop {name('gateway')}", "preview", "up"]
    assert account.images() == {OLD}


def test_deployment_is_stopped_although_another_command_waits_for_it(account: FakePulumi) -> None:
    """It holds the lock of the state, which therefore has operations with an unknown result."""
    deploying(account)
    urn = "urn:pulumi:dev::gatehouse::aws:ecs/service:Service::gateway"
    resource = {"urn": urn, "type": "aws:ecs/service:Service"}
    account.unfinished = [{"type": "updating", "resource": resource}]
    result = account.release("rollback", "--yes")
    assert (result.returncode, account.steps) == (1, [f"stop {name('gateway')}"])
    assert (account.digest(), account.running[name("gateway")][-2:]) == (NEW, ":1")
    assert "pulumi cancel --stack dev" in result.stderr


def test_deployment_is_not_stopped_without_a_confirmation(account: FakePulumi) -> None:
    deploying(account)
    assert account.release("rollback", stdin="no\n").returncode == 1
    assert (account.steps, account.digest()) == ([], NEW)


def test_deployment_that_has_just_ended_does_not_stop_the_rollback(account: FakePulumi) -> None:
    def end(call: str, result: dict[str, Any]) -> dict[str, Any]:
        if call == "StopServiceDeployment":
            return {"__type": "ConflictException", "message": "the deployment has ended"}
        return result

    deploying(account)
    account.intercept = end
    assert account.release("rollback", "--yes").returncode == 0
    assert account.images() == {OLD}


def test_deployment_that_ecs_does_not_roll_back_is_an_error(
    account: FakePulumi, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in (
        ("AWS_ENDPOINT_URL", account.url),
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
    ):
        monkeypatch.setenv(variable, value)
    deploying(account)
    row, sleeps = dict(account.deployments[0]), list[float]()
    account.intercept = lambda call, result: (
        {"serviceDeployments": [row]} if call == "ListServiceDeployments" else result
    )
    stack = Stack("dev", {"account": ACCOUNT, "region": "eu-west-1"})
    with pytest.raises(Exception, match=f"has not rolled back .*{name('gateway')}"):
        stop(stack, [name("gateway")], confirm=lambda: True, sleep=sleeps.append)
    assert sum(sleeps) == STOP_TIMEOUT_S == POLL_S * len(sleeps)


@pytest.mark.parametrize(
    ("settings", "rollout"),
    [
        ({"rollout": {"strategy": "canary"}}, {"strategy": "at_once"}),
        (
            {"rollout": {"strategy": "blue_green", "smoke_test": True}},
            {"strategy": "at_once", "smoke_test": True},
        ),
        ({}, None),  # rolling, the default of dev
    ],
)
def test_traffic_shifts_at_once(
    account: FakePulumi, settings: dict[str, Any], rollout: dict[str, Any] | None
) -> None:
    result = account.release("rollback", "--yes", stack_file=own_stack_file(**settings))
    assert result.returncode == 0, result.stderr
    assert account.updates[-1].get("rollout") == rollout
    # The next deployment has the strategy of the stack file.
    account.release("deploy", "--yes", image=NEW, stack_file=own_stack_file(**settings))
    assert account.updates[-1].get("rollout") == settings.get("rollout")


def test_previous_image_was_deployed_successfully(account: FakePulumi) -> None:
    """A failed deployment leaves a revision with its image. Another family has a longer name."""
    deployed(account, FAILED)
    account.register(f"{name('gateway')}-two", f"sha256:{'e' * 64}")
    account.pushed[f"sha256:{'e' * 64}"] = account.pushed[OLD]
    assert account.release("rollback", "--yes", image=FAILED).returncode == 0
    assert account.images() == {OLD}


def test_image_that_was_never_deployed_is_no_previous_image(account: FakePulumi) -> None:
    account.pushed = {}
    account.refusal("rollback", "--yes")
    assert account.digest() == NEW


@pytest.mark.parametrize("target", [NEW, "latest"])
def test_invalid_target_is_rejected(account: FakePulumi, target: str) -> None:
    assert target in account.refusal("rollback", "--yes", "--digest", target)
    assert account.digest() == NEW


def test_stack_that_is_not_deployed_is_rejected(account: FakePulumi) -> None:
    account.outputs["services"] = {"gateway": {"service": name("gateway"), "taskDefinition": None}}
    for command in ("rollback", "verify"):
        assert "not deployed" in account.release(command).stderr
    assert (account.steps, account.images()) == ([], {NEW})


@pytest.mark.parametrize(
    ("change", "options"),
    [
        ({}, {"stdin": "no\n"}),
        ({}, {"missing": ("cosign",), "GITHUB_REPOSITORY": "acme/gatehouse"}),
        ({"rolls_back": True}, {"stdin": "dev\n"}),
        ({"failures": {"preview": "error"}}, {"stdin": "dev\n"}),
    ],
)
def test_failed_rollback_restores_the_stack_file(
    account: FakePulumi, change: dict[str, Any], options: dict[str, Any]
) -> None:
    vars(account).update(change)
    assert account.release("rollback", **options).returncode
    assert account.digest() == NEW


def test_failed_rollback_after_a_deployment_restores_the_stack_file(account: FakePulumi) -> None:
    account.rolls_back = True
    result = account.release("deploy", "--yes", "--rollback", image=FAILED)
    assert (result.returncode, account.digest()) == (1, FAILED)
    assert "runs the previous image again" not in result.stderr


def test_expired_credentials_stop_the_rollback_of_a_deployment(account: FakePulumi) -> None:
    def expire(call: str, result: dict[str, Any]) -> dict[str, Any]:
        if call == "up" and account.steps[-1] == "up":
            account.rejection = "ExpiredToken"
            return {"code": 255}
        return result

    account.intercept = expire
    result = account.release("deploy", "--yes", "--rollback", image=FAILED)
    assert (result.returncode, account.steps[-1], account.digest()) == (1, "up", FAILED)
    last = result.stderr.splitlines()[-1]
    assert "ExpiredToken" in last
    assert last.endswith("Then run: make deploy ENV=dev")
