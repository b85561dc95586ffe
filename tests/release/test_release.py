"""A release goes in its order and stops where something is wrong; a rollback goes back to the image before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.release.account import NEW, OLD, Account, checkout, release, serving


@pytest.fixture
def account() -> Iterator[Account]:
    there = Account()
    with serving(there):
        yield there


def digest(folder: Path) -> str:
    (line,) = (line for line in (folder / "Pulumi.dev.yaml").read_text().splitlines() if " digest:" in line)
    return line.split()[1]


@pytest.mark.requirement("TR-17")
def test_the_schema_is_migrated_by_a_task_before_any_service_changes(account: Account, tmp_path: Path) -> None:
    done = release(checkout(tmp_path, NEW, account.url), account.url, "deploy", "--yes")
    assert done.returncode == 0, done.stderr
    assert account.steps == ["preview", "up without services", "run gatehouse-dev-migrate:2", "up"]
    assert "gatehouse-dev-console, gatehouse-dev-gateway run what was asked for, and every door answers" in done.stdout


@pytest.mark.requirement("SS-08", "TR-17")
def test_a_deployment_that_ecs_took_back_is_a_failure(account: Account, tmp_path: Path) -> None:
    account.goes_back = True
    done = release(checkout(tmp_path, NEW, account.url), account.url, "deploy", "--yes")
    assert done.returncode == 1
    assert (
        "deploy: gatehouse-dev-gateway: ECS went back: it runs gatehouse-dev-gateway:1, the stack asked for gatehouse-dev-gateway:2. "
        "ECS deployment circuit breaker: rolling back."
    ) in done.stderr


def test_a_sick_door_is_a_failure_that_names_it(account: Account, tmp_path: Path) -> None:
    account.sick, account.goes_back = ("sharing",), True  # with a wrong service the doors are asked once only
    done = release(checkout(tmp_path, NEW, account.url), account.url, "verify")
    assert done.returncode == 1
    assert f"verify: sharing: {account.url}/sharing/healthz answers 503" in done.stderr


@pytest.mark.parametrize(("code", "said"), [(1, "migrate ended with 1"), (None, "migrate never started")])
def test_a_failed_migration_leaves_the_services_alone(account: Account, tmp_path: Path, code: int | None, said: str) -> None:
    account.migration = code
    done = release(checkout(tmp_path, NEW, account.url), account.url, "deploy", "--yes")
    assert done.returncode == 1
    assert account.steps[-1].startswith("run ")
    assert account.running == {"gateway": 1, "console": 1}
    assert f"the migration abc failed: {said}. Essential container exited" in done.stderr
    assert "The services were not touched and run what they ran." in done.stderr


def test_a_preview_that_the_packs_stop_stops_the_release(account: Account, tmp_path: Path) -> None:
    account.preview = 255
    done = release(checkout(tmp_path, NEW, account.url), account.url, "deploy", "--yes")
    assert (done.returncode, account.steps) == (1, ["preview"])
    assert "pulumi preview ended with 255" in done.stderr


@pytest.mark.parametrize("said", ["", "yes\n", "prod\n"])
def test_without_the_name_of_the_stack_nothing_is_changed(account: Account, tmp_path: Path, said: str) -> None:
    done = release(checkout(tmp_path, NEW, account.url), account.url, "deploy", said=said)
    assert (done.returncode, account.steps) == (1, ["preview"])
    assert "not confirmed; nothing was changed" in done.stderr


@pytest.mark.requirement("SS-09", "TR-17")
def test_a_rollback_names_the_image_before_and_releases_it_without_a_migration(account: Account, tmp_path: Path) -> None:
    account.running, account.wanted = dict.fromkeys(account.running, 2), 2
    done = release(checkout(tmp_path, NEW, account.url), account.url, "rollback", "--yes")
    assert done.returncode == 0, done.stderr
    assert digest(tmp_path) == OLD
    assert account.steps == ["preview", "up"]
    assert f"image.digest {NEW} -> {OLD}. Commit it." in done.stdout


def test_a_rollback_that_is_not_confirmed_leaves_the_file_as_it_was(account: Account, tmp_path: Path) -> None:
    done = release(checkout(tmp_path, NEW, account.url), account.url, "rollback", said="no\n")
    assert (done.returncode, digest(tmp_path)) == (1, NEW)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (NEW, f"rollback: Pulumi.dev.yaml already names {NEW}; to release it type: make deploy ENV=dev"),
        ("latest", "rollback: 'latest' is no digest; it looks like sha256:<64 hex digits>"),
    ],
)
def test_a_rollback_to_nothing_new_is_refused(account: Account, tmp_path: Path, wanted: str, said: str) -> None:
    done = release(checkout(tmp_path, NEW, account.url), account.url, "rollback", "--yes", "--digest", wanted)
    assert (done.returncode, done.stderr.strip(), account.steps) == (2, said, [])


def test_an_image_that_was_not_pushed_is_refused_before_anything_happens(account: Account, tmp_path: Path) -> None:
    done = release(checkout(tmp_path, f"sha256:{'0' * 64}", account.url), account.url, "deploy", "--yes")
    assert (done.returncode, account.steps) == (2, [])
    assert "Pulumi.dev.yaml names no image" in done.stderr
