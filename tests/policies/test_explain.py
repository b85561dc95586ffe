"""`gatehouse-policies list` and `explain`."""

import ast
import json
import re
import tomllib
from pathlib import Path

import pytest
from gatehouse_policies import catalogue
from gatehouse_policies.__main__ import main
from gatehouse_policies.explain import as_json, selected
from gatehouse_policies.reports.python_names import python_name
from pulumi_local.schema import camel
from pulumi_local.type_tokens import aws


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
    assert sorted(examples) == sorted(rule.id for rule in catalogue.RULES), "run: make init"
    for id, example in examples.items():
        assert re.fullmatch(rf"# Violates {id}:\n.+\n# Complies:\n.+\n", example, re.DOTALL), id


def test_arguments_in_examples_are_those_of_the_provider() -> None:
    text = Path(catalogue.__file__).with_name("examples.toml").read_text()
    calls = [
        (ast.unparse(call.func).removeprefix("aws."), argument.arg or "")
        for example in tomllib.loads(text).values()
        for call in ast.walk(ast.parse(example))
        if isinstance(call, ast.Call) and ast.unparse(call.func).count(".") == 2
        for argument in call.keywords
    ]
    assert len(calls) > 300
    assert [
        (name, argument)
        for name, argument in calls
        if python_name(camel(argument), aws(name)[0]) != argument
    ] == []


def test_unknown_control_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "GH-S3-0012"]) == 2
    assert "There is no control GH-S3-0012. Write GH-S3-012." in capsys.readouterr().err


PACK = """
from pulumi_policy import PolicyPack
from gatehouse_policies.engine.pack import guarded
from gatehouse_policies.engine.rule import resource_rule

@resource_rule(
    "ACME-SNS-001",
    title="Topics are encrypted",
    remedy="set kmsMasterKeyId",
    severity="high",
    types=("aws:sns/topic:Topic",),
    levels="-AM",
    url="https://acme.example/sns",
    lists={"allowed": ()},
)
def encrypted(topic):
    if not topic.props.has("kmsMasterKeyId"):
        yield "kmsMasterKeyId is not set"

PolicyPack("acme", policies=guarded([encrypted]))
"""


def test_controls_of_other_packs_are_listed_and_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "PulumiPolicy.yaml").write_text("runtime: python\n")
    (tmp_path / "__main__.py").write_text(PACK)
    options = ["--pack", str(tmp_path)]
    assert main(["list", *options]) == 0
    line = "ACME-SNS-001 high      d/a/m Topics are encrypted"
    assert line in capsys.readouterr().out.splitlines()
    assert main(["list", "--json", *options]) == 0
    rows = {row["id"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows["ACME-SNS-001"]["pack"], [*rows["ACME-SNS-001"]["parameters"]]) == (
        "acme",
        ["allowed"],
    )
    assert main(["explain", "acme-sns-001", *options]) == 0
    text = capsys.readouterr().out
    for part in ("Severity high", "Fix: set kmsMasterKeyId", "https://acme.example/sns", "allowed"):
        assert part in text
    assert main(["explain", "ACME-SNS-001"]) == 2
    assert "--pack DIR" in capsys.readouterr().err
