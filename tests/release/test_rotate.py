"""Rotation of secrets, and what makes a value void at once."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from release import rotate
from release.rotate import NAMES, VOIDING_ROTATIONS
from tests.release.fake_cli import FakePulumi

TOKEN = "gatehouse/dev/bootstrap-token"


@pytest.fixture(autouse=True)
def running(account: FakePulumi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotate, "POLL_S", 0)
    for name in NAMES:
        assert account.secrets[f"gatehouse/dev/{name}"] == ["v0"]
    account.start_task()
    account.start_task()


@pytest.mark.parametrize("name", VOIDING_ROTATIONS)
def test_no_task_has_a_value_that_is_void_at_once(account: FakePulumi, name: str) -> None:
    result = account.release("rotate", "--name", name, "--now", "--yes")
    assert result.returncode == 0, result.stderr
    versions = account.secrets[f"gatehouse/dev/{name}"]
    assert len(versions) == 1 + VOIDING_ROTATIONS[name]
    assert len(account.tasks) == 2
    assert {task[f"gatehouse/dev/{name}"] for task in account.tasks.values()} == {versions[-1]}


def test_tasks_that_have_the_new_value_are_not_stopped(account: FakePulumi) -> None:
    started: list[str] = []

    def start(action: str, result: dict[str, Any]) -> dict[str, Any]:
        if "LastRotatedDate" in result and not started:
            account.start_task()  # by the restart function
            started.append([*account.tasks][-1])
        return result

    account.intercept = start
    result = account.release("rotate", "--name", "bootstrap-token", "--now", "--yes")
    assert (result.returncode, len(account.tasks)) == (0, 3), result.stderr
    assert started[0] in account.tasks


def test_scheduled_strategy_replaces_tasks_without_now(account: FakePulumi) -> None:
    before = dict(account.tasks)
    assert account.release("rotate", "--name", "pepper").returncode == 0
    assert (len(account.secrets["gatehouse/dev/pepper"]), account.tasks) == (2, before)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--name", "bootstrap"), 2),
        (("--name", "pepper", "--now", "--yes"), 2),
        (("--name", "canary-key", "--now", "--yes"), 2),
        (("--name", "bootstrap-token", "--now"), 2),  # not confirmed
    ],
)
def test_rejected_rotation_changes_nothing(
    account: FakePulumi, words: tuple[str, ...], code: int
) -> None:
    before = dict(account.tasks)
    assert account.release("rotate", *words).returncode == code
    assert account.tasks == before
    assert {tuple(versions) for versions in account.secrets.values()} == {("v0",)}


def test_value_is_valid_if_the_rotation_does_not_end(account: FakePulumi) -> None:
    account.rotates, before = False, dict(account.tasks)
    result = account.release("rotate", "--name", "bootstrap-token", "--now", "--yes")
    assert (result.returncode, account.tasks) == (1, before)
    assert "rotation-failure.md" in result.stderr


def test_rotations_are_those_after_which_the_function_keeps_no_earlier_value() -> None:
    file = Path(__file__).parents[2] / "runtime" / "functions" / "rotate.py"
    spec = importlib.util.spec_from_file_location("rotate_function", file)
    assert spec
    assert spec.loader
    function = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(function)
    kept = {name: function.GENERATIONS_MAX.get(name, 1) for name in VOIDING_ROTATIONS}
    assert kept == VOIDING_ROTATIONS
