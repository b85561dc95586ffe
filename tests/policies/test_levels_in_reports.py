"""Changed levels, and exclusions by tag, are in every report."""

from xml.etree import ElementTree

import pytest
from gatehouse_policies import catalogue, policy_check
from gatehouse_policies.configuration import read
from gatehouse_policies.policy_check import FORMATS, CheckResult
from gatehouse_policies.reports.sarif import document

PROGRAM = """
import pulumi
import pulumi_aws as aws

aws.s3.Bucket("links", tags={"gatehouse:purpose": "ephemeral"})
aws.sns.Topic("orders")
"""
LEVELS = """
strict = true
[levels]
GH-SNS-001 = { enforcementLevel = "disabled", reason = "the orders are public" }
GH-S3-010 = "advisory"
GH-S3-003 = "mandatory"
T-TOPIC = { enforcementLevel = "disabled", reason = "replaced by GH-SNS-001" }
"""
PACK = """
from pulumi_policy import *
def topic(args, report):
    if args.resource_type == "aws:sns/topic:Topic":
        report("a topic")
PolicyPack("tests", [ResourceValidationPolicy("T-TOPIC", "No topics", topic)])
"""
DISABLED = ("GH-SNS-001", "T-TOPIC")


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> CheckResult:
    folder = tmp_path_factory.mktemp("program")
    pack = tmp_path_factory.mktemp("pack")
    for file, text in {
        folder / "Pulumi.yaml": "name: shop\nruntime: python\n",
        folder / "Pulumi.staging.yaml": "config:\n  aws:region: eu-west-1\n",
        folder / "__main__.py": PROGRAM,
        folder / "policies.toml": LEVELS,
        pack / "PulumiPolicy.yaml": "runtime: python\n",
        pack / "__main__.py": PACK,
    }.items():
        file.write_text(text)
    configuration = read(folder / "policies.toml")
    folders = (*policy_check.PACKS, pack)
    return policy_check.check(folder, "staging", folders=folders, configuration=configuration)


@pytest.mark.parametrize("suffix", FORMATS)
def test_report_has_a_line_for_each_changed_level(result: CheckResult, suffix: str) -> None:
    text = " ".join(result.text(suffix).split())
    for line in (
        "GH-SNS-001 is disabled by policies.toml, by default mandatory: the orders are public",
        "GH-S3-010 is advisory by policies.toml, by default mandatory",
        "T-TOPIC is disabled by policies.toml: replaced by GH-SNS-001",
    ):
        assert line in text
    assert "GH-S3-003 is" not in text  # the default


def test_disabled_control_is_skipped_in_junit(result: CheckResult) -> None:
    root = ElementTree.fromstring(result.text("xml"))  # noqa: S314  our own output
    cases = {str(case.get("name")).split()[0]: case for case in root.iter("testcase")}
    for id in DISABLED:
        assert cases[id].find("skipped") is not None
    # Needs account_stacks.
    assert cases["GH-ACC-001"].find("skipped") is not None
    assert cases["GH-S3-003"].find("skipped") is None
    for suite in root:
        assert int(suite.get("skipped", "")) == len(suite.findall("testcase/skipped"))
        assert int(suite.get("tests", "")) == len(suite.findall("testcase"))


def test_disabled_control_is_not_enabled_in_sarif(result: CheckResult) -> None:
    [run] = document(result.findings, result.run)["runs"]
    rules = {
        rule["id"]: rule.get("defaultConfiguration") for rule in run["tool"]["driver"]["rules"]
    }
    for id in (*DISABLED, "GH-ACC-001"):
        assert rules[id]["enabled"] is False
    assert rules["GH-S3-010"] == {"enabled": True, "level": "warning"}


def test_summary_counts_the_disabled_rules(result: CheckResult) -> None:
    not_configured = {rule.id for rule in catalogue.RULES if not rule.is_configured}
    assert len(not_configured) >= 3
    enabled = {rule.id for rule in catalogue.enabled("staging")} - {*DISABLED} - not_configured
    disabled = len(catalogue.RULES) - len(enabled)
    assert f"staging: {len(enabled)} rules ({disabled} disabled) on " in result.text("md")


def test_exclusions_by_tag_are_reported(result: CheckResult) -> None:
    [message] = [item.message for item in result.findings if item.rule == "GH-TAG-002"]
    assert 'gatehouse:purpose="ephemeral"' in message


def test_control_without_its_key_is_not_shown_as_passed(result: CheckResult) -> None:
    root = ElementTree.fromstring(result.text("xml"))  # noqa: S314  our own output
    cases = {str(case.get("name")).split()[0]: case for case in root.iter("testcase")}
    [run] = document(result.findings, result.run)["runs"]
    rules = {rule["id"]: rule for rule in run["tool"]["driver"]["rules"]}
    for id, key in (("GH-PUL-003", "regions"), ("GH-ACC-001", "account_stacks")):
        skipped = cases[id].find("skipped")
        assert skipped is not None
        assert skipped.get("message") == f"{id} needs {key} in the configuration file"
        assert rules[id]["defaultConfiguration"]["enabled"] is False
