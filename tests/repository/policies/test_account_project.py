"""Both packs accept the project `account` with every guard."""

from pathlib import Path
from typing import Any

import yaml
from gatehouse_policies import configuration, policy_check

from sandbox.paths import REPOSITORY
from tests.components.settings.stack_settings import raw_account_settings


def check(folder: Path, settings: dict[str, Any]) -> policy_check.CheckResult:
    (folder / "Pulumi.yaml").write_text(
        f"name: gatehouse-account\nruntime: python\nmain: {REPOSITORY / 'account'}\n"
    )
    (folder / "Pulumi.main.yaml").write_text(
        yaml.safe_dump({"config": {"gatehouse-account:settings": settings}})
    )
    (folder / "policies.toml").write_text('account_stacks = ["gatehouse-account/main"]\n')
    configured = configuration.read(folder / "policies.toml")
    return policy_check.check(folder, "main", configuration=configured)


def test_no_mandatory_rule_is_violated(tmp_path: Path) -> None:
    budget = {"monthly_usd": 300, "emails": ["finance@acme.dev"]}
    changes = {"budget": budget}
    result = check(tmp_path, raw_account_settings(changes, guards=True))
    assert (result.run.environment, result.run.resources) == ("prod", 27)
    assert [(row.rule, row.message) for row in result.findings if row.blocks] == []


def test_missing_guards_are_reported(tmp_path: Path) -> None:
    changes = {"guards.guardduty": False, "guards.security_hub": False}
    result = check(tmp_path, raw_account_settings(changes, guards=True))
    assert {row.rule for row in result.findings if row.blocks} == {"GH-ACC-001", "GH-COST-001"}
