"""`gatehouse-policies list` and `explain`."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from gatehouse_policies import catalogue
from gatehouse_policies.__main__ import main
from gatehouse_policies.explain import as_json, selected


def test_list_has_every_control_and_its_fields() -> None:
    rows = {row["id"]: row for row in json.loads(as_json(catalogue.RULES))}
    assert list(rows) == [rule.id for rule in catalogue.RULES]
    row = rows["GH-RDS-003"]
    assert row["levels"] == {"dev": "advisory", "staging": "mandatory", "prod": "mandatory"}
    assert row["parameters"] == {"days_min": {"dev": 7, "staging": 7, "prod": 35}}
    assert (row["frameworks"]["fsbp"], "CKV_AWS_133" in row["upstream"]) == (["RDS.11"], True)


def test_framework_selects_controls(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--framework", "cis"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [rule.id for rule in selected("cis")]
    assert "GH-S3-001   critical  m/m/m S3 buckets block public access" in lines


@pytest.mark.parametrize(
    ("id", "example"),
    [
        ("GH-ECS-002", 'container_definitions=json.dumps([{"readonlyRootFilesystem": True}])'),
        ("GH-ALB-003", 'aws.lb.LoadBalancer("balancer", drop_invalid_header_fields=True)'),
        ("GH-PUL-002", 'aws.Provider("main", allowed_account_ids=["123456789012"])'),
    ],
)
def test_explanation_has_rationale_sources_and_example(
    id: str, example: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", id.lower()]) == 0
    text, rule = capsys.readouterr().out, catalogue.rule(id)
    assert example in text
    for part in (rule.title, f"Source: {rule.url}", *rule.upstream_ids()):
        assert part in text


def test_every_control_has_a_violating_and_a_compliant_example() -> None:
    text = Path(catalogue.__file__).with_name("examples.toml").read_text()
    examples = tomllib.loads(text)
    assert [*examples] == [rule.id for rule in catalogue.RULES]
    for id, example in examples.items():
        assert re.fullmatch(rf"# Violates {id}:\n.+\n# Complies:\n.+\n", example, re.DOTALL), id


def test_unknown_control_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "GH-S3-0012"]) == 2
    assert "There is no control GH-S3-0012. Write GH-S3-012." in capsys.readouterr().err
