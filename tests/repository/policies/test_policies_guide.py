"""The example of docs/guides/policies.md works."""

import json
import re
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from gatehouse_policies import configuration, policy_check
from gatehouse_policies.__main__ import main
from gatehouse_policies.catalogue import RULES
from gatehouse_policies.engine import exemptions
from gatehouse_policies.engine.rule import Level

from tests import processes

ROOT = Path(__file__).resolve().parents[3]
GUIDE = (ROOT / "docs" / "guides" / "policies.md").read_text()
FILES = dict(
    re.findall(r"^`(guard/[^`]+)`:\n\n```\w+\n(.*?)^```$", GUIDE, flags=re.DOTALL | re.MULTILINE)
)
PROGRAM = "import pulumi_aws as aws\n\naws.sns.Topic('orders')\n"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / "gatehouse").symlink_to(ROOT)
    (tmp_path / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    (tmp_path / "Pulumi.dev.yaml").write_text("config:\n  aws:region: eu-west-1\n")
    (tmp_path / "__main__.py").write_text(PROGRAM)
    return tmp_path


def check(shop: Path) -> tuple[int, list[dict[str, Any]]]:
    options = [
        "--program",
        str(shop),
        "--env",
        "dev",
        "--levels",
        "prod",
        "--pack",
        str(shop / "guard"),
    ]
    code = main(["--home", str(shop / "home"), "check", *options])
    report = json.loads((shop / "home" / "check" / "dev.prod.sarif").read_text())
    results = report["runs"][0]["results"]
    return code, [row for row in results if row["properties"]["pack"] == "guard"]


def test_rule_report_and_remedy_of_the_guide(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, [finding] = check(shop)
    printed = capsys.readouterr().out
    [report] = re.findall(r"--pack guard\n(.*?)```", GUIDE, flags=re.DOTALL)
    assert len(report.splitlines()) >= 3
    assert [line for line in report.splitlines() if line not in printed] == []
    assert (code, finding["ruleId"], finding["level"]) == (1, "ACME-SNS-001", "error")
    assert finding["locations"][0]["physicalLocation"]["region"] == {"startLine": 3}
    assert finding["message"]["text"] == (
        "the topic is not encrypted. Fix: set kms_master_key_id to the alias or ARN of a key"
    )
    (shop / "__main__.py").write_text(
        PROGRAM.replace("'orders'", "'orders', kms_master_key_id='alias/orders'")
    )
    assert check(shop)[1] == []


def test_test_of_the_guide_passes(shop: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_rules.py"]
    result = processes.run(command, cwd=shop / "guard")
    assert (result.returncode, "1 passed" in result.stdout) == (0, True), result.stdout


def test_own_rule_is_exempted_and_counted(shop: Path) -> None:
    today = datetime.now(UTC).date()
    entry = {
        **{"control": "ACME-SNS-001", "urn": "urn:*::orders", "owner": "shop", "ticket": "S-1"},
        "reason": "the topic is deleted next month",
    }
    lines = [f'{key} = "{value}"' for key, value in entry.items()]
    lines += [f"created = {today}", f"expires = {today + timedelta(days=30)}"]
    (shop / "policies.toml").write_text("\n".join(["[[exemption]]", *lines]))
    result = policy_check.check(
        shop,
        "dev",
        levels="prod",
        folders=(*policy_check.PACKS, shop / "guard"),
        variables=policy_check.exemptions(shop / "policies.toml", False),
    )
    outcomes = {item.rule: item.outcome for item in result.findings}
    assert (outcomes["ACME-SNS-001"], "GH-EXEMPT-INVALID" in outcomes) == ("exempted", False)
    enabled = [rule for rule in RULES if result.run.level(rule) != Level.DISABLED]
    assert f"{len(enabled) + 1} rules" in result.text("txt")
    # Without the pack, nothing applies the exemption.
    assert main(["check", "--program", str(shop), "--config", str(shop / "policies.toml")]) == 2


def test_exemption_of_the_guide_is_valid(tmp_path: Path) -> None:
    [text] = re.findall(r"```toml\n(\[\[exemption.*?)```", GUIDE, flags=re.DOTALL)
    file = tmp_path / "exemptions.toml"
    file.write_text(text)
    [entry] = tomllib.loads(text)["exemption"]
    loaded = exemptions.load(
        file, entry["created"] + timedelta(days=1), {rule.id: rule.exemptible for rule in RULES}
    )
    assert (len(loaded.active), loaded.errors) == (1, ())


def test_configuration_of_the_guide_is_valid(tmp_path: Path) -> None:
    [text, _] = re.findall(r"```toml\n(regions.*?)```", GUIDE, flags=re.DOTALL)
    file = tmp_path / "policies.toml"
    file.write_text(text)
    # An unknown key, rule or parameter is an error. The example shows every key.
    assert set(tomllib.loads(text)) == {*configuration.KEYS} - {"exemption"}
    assert configuration.read(file).stack_config == {"shop:port": 5432}
