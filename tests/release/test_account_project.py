"""Release commands for the project `account`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from release.__main__ import ACCOUNT_COMMANDS
from release.pulumi_cli import command_line
from release.stack_file import ACCOUNT, Stack
from sandbox.emulator.server import Emulator
from tests.components.settings.stack_settings import raw_account_settings
from tests.release.fake_aws import ACCOUNT as OWN_ACCOUNT
from tests.release.fake_aws import FakeAccount, serving

pytestmark = pytest.mark.requirement("CG-21", "TR-17")


@pytest.fixture
def account(tmp_path: Path) -> Iterator[FakeAccount]:
    fake = FakeAccount(folder=tmp_path, stacks=("main",))
    with serving(fake):
        yield fake


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator.start() as running:
        yield running


def run(fake: FakeAccount, /, *words: str, **changes: Any) -> Any:
    settings = raw_account_settings(
        {key.replace("__", "."): value for key, value in changes.items()}
    )
    file = fake.folder / "account" / "Pulumi.main.yaml"
    file.parent.mkdir()
    file.write_text(yaml.safe_dump({"config": {"gatehouse-account:settings": settings}}))
    return fake.release(*words, stack="main")


def test_bootstrap_creates_the_role_of_aws_config(account: FakeAccount, emulator: Emulator) -> None:
    account.emulator = emulator
    words = ("bootstrap", "--project", "account")
    result = run(account, *words, guards__config_recorder=True)
    assert result.returncode == 0, result.stderr
    assert "created the service-linked role of AWS Config" in result.stdout
    assert "service-linked role of ECS" not in result.stdout
    assert "make deploy PROJECT=account ENV=main" in result.stdout


def test_bootstrap_uses_the_state_bucket_of_the_setting(
    account: FakeAccount, emulator: Emulator
) -> None:
    account.emulator = emulator
    words = ("bootstrap", "--project", "account")
    result = run(account, *words, state_bucket="acme-state-of-account")
    assert result.returncode == 0, result.stderr
    assert account.steps == ["login s3://acme-state-of-account?region=eu-west-1"]
    assert "service-linked role" not in result.stdout


@pytest.mark.parametrize(("words", "steps"), [(("--yes",), ["preview", "up"]), ((), ["preview"])])
def test_deployment_executes_the_confirmed_plan(
    account: FakeAccount, words: tuple[str, ...], steps: list[str]
) -> None:
    result = run(account, "deploy", "--project", "account", *words, account=OWN_ACCOUNT)
    assert (result.returncode, account.steps) == (0 if words else 1, steps), result.stderr


def test_packs_are_in_the_root_of_the_repository() -> None:
    words = command_line("deploy", Stack("main", "", "", "", project=ACCOUNT))
    assert [word for word in words if word.startswith("../policies/")] == [
        "../policies/security",
        "../policies/resilience",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("image", "--project", "account"),
            f"PROJECT=account has no services; use one of: {', '.join(ACCOUNT_COMMANDS)}",
        ),
        (
            ("preview", "--project", "shop"),
            "no project 'shop'; use PROJECT=account, or no PROJECT for the stacks of Gatehouse",
        ),
    ],
)
def test_wrong_project_is_rejected(
    account: FakeAccount, words: tuple[str, ...], message: str
) -> None:
    result = run(account, *words)
    assert (result.returncode, result.stderr) == (2, f"{words[0]}: {message}\n")


@pytest.mark.parametrize("command", ["bootstrap", "destroy"])
def test_invalid_settings_are_reported(account: FakeAccount, command: str) -> None:
    result = run(account, command, "--project", "account", guards="create")
    assert (result.returncode, account.steps) == (2, [])
    assert "guards is 'create'; allowed: a mapping with access_analyzer" in result.stderr
