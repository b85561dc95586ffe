"""What a program or its stack can do to avoid a finding leaves a trace in every report."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from gatehouse_policies import policy_check
from gatehouse_policies.__main__ import main
from gatehouse_policies.configuration import read
from gatehouse_policies.engine.environment import CONFIG_KEY
from gatehouse_policies.policy_check import FORMATS, CheckResult

from tests.cases import cases

_CASES = cases(__file__)

PROGRAM: str = _CASES["program"]
NOTES = (
    "__main__.py:7 reader ignores changes of assumeRolePolicy, so that the deployed values can "
    "differ",
    "__main__.py:15 clean (command:local:Command) runs code",
    "__main__.py:16 calls is_dry_run, whose result differs in the engine",
    "__main__.py:16 calls get_organization, whose result differs in the engine",
)
CONFIGURATION = """
accounts = ["482912345678"]
[environments]
"shop/live" = "staging"
alice = "dev"
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    stack = f"config:\n  shop:{CONFIG_KEY}: dev\n"
    for name in ("live", "other", "alice"):
        (tmp_path / f"Pulumi.{name}.yaml").write_text(stack)
    (tmp_path / "__main__.py").write_text(PROGRAM)
    (tmp_path / "policies.toml").write_text(CONFIGURATION)
    return tmp_path


def check(program: Path, stack: str, folders: Sequence[Path] = policy_check.PACKS) -> CheckResult:
    config = read(program / "policies.toml")
    return policy_check.check(program, stack, configuration=config, folders=folders)


def test_what_no_rule_evaluates_is_in_every_report(program: Path) -> None:
    result = check(program, "live")
    assert sorted(result.run.unevaluated) == sorted(NOTES)
    for suffix in FORMATS:
        text = " ".join(result.text(suffix).replace('\\"', '"').split())
        for note in NOTES:
            assert note in text, suffix


def test_unevaluated_resource_can_fail_the_check(program: Path, tmp_path: Path) -> None:
    (program / "__main__.py").write_text(
        PROGRAM.partition("own =")[0] + "pulumi.get_organization()\n"
    )
    options = ["--home", str(tmp_path / "home"), "check", "--program", str(program)]
    options += ["--env", "live"]
    assert main(options) == 0
    assert main([*options, "--fail-on-unevaluated"]) == 3
    [run] = json.loads((tmp_path / "home" / "check" / "live.staging.sarif").read_text())["runs"]
    assert run["invocations"][0]["exitCode"] == 3


@pytest.mark.parametrize(
    ("stack", "environment"), [("live", "staging"), ("alice", "dev"), ("other", "prod")]
)
def test_environment_is_that_of_the_configuration(
    program: Path, stack: str, environment: str
) -> None:
    (program / "__main__.py").write_text("")
    assert check(program, stack, ()).run.environment == environment
    (program / "policies.toml").write_text("")
    assert check(program, stack, ()).run.environment == "dev"


def test_account_of_a_provider_must_be_in_the_configuration(program: Path) -> None:
    [finding] = [item for item in check(program, "live").findings if item.rule == "GH-PUL-006"]
    assert (finding.severity, finding.blocks) == ("critical", True)
    assert "contains 111122223333" in finding.message
    (program / "policies.toml").write_text('accounts = ["482912345678", "111122223333"]\n')
    assert "GH-PUL-006" not in {item.rule for item in check(program, "live").findings}
