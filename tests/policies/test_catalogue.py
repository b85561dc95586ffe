"""The catalogue: consistent in itself, with the packs, with the level files and with the pulumi-aws SDK."""

from __future__ import annotations

import re
from pathlib import Path

import pulumi_aws
import pytest
import yaml
from google.protobuf import empty_pb2

from policies import catalogue
from policies.analysis import type_tokens
from policies.catalogue import PACKS, RULES
from policies.engine import levels
from policies.engine.rule import ENVIRONMENTS, Rule
from policies.testing.harness import RunningPack

FIRST_SET = [
    "GH-S3-001",
    "GH-S3-003",
    "GH-S3-011",
    "GH-S3-012",
    "GH-S3-016",
    "GH-KMS-001",
    "GH-KMS-002",
    "GH-KMS-004",
    "GH-KMS-007",
    "GH-SM-004",
    "GH-SM-006",
    "GH-ECS-001",
    "GH-ECS-002",
    "GH-ECS-003",
    "GH-ECS-004",
    "GH-ECS-005",
    "GH-ECS-006",
    "GH-ECS-007",
    "GH-ECS-011",
    "GH-ECS-016",
    "GH-ALB-001",
    "GH-ALB-002",
    "GH-ALB-003",
    "GH-ALB-006",
    "GH-RDS-001",
    "GH-RDS-002",
    "GH-RDS-007",
    "GH-RDS-012",
    "GH-RDS-016",
    "GH-RDS-018",
    "GH-VPC-001",
    "GH-VPC-002",
    "GH-VPC-003",
    "GH-VPC-004",
    "GH-VPC-010",
    "GH-IAM-001",
    "GH-IAM-003",
    "GH-IAM-005",
    "GH-IAM-006",
    "GH-IAM-008",
]

# How many controls the catalogue has for each service; their numbers run from 001 without a gap.
CONTROLS = {
    **{"S3": 17, "KMS": 9, "SM": 6, "ECS": 16, "ECR": 4, "ALB": 10, "ACM": 1, "WAF": 4, "RDS": 18, "EC": 7, "DDB": 5, "BAK": 4},
    **{"VPC": 11, "CT": 6, "CW": 6, "SNS": 1, "IAM": 8, "LAM": 5, "API": 5, "ACC": 1, "COST": 1, "TAG": 1, "PUL": 5},
}


@pytest.mark.requirement("PP-03")
def test_every_control_of_the_catalogue_is_a_rule() -> None:
    wanted = {f"GH-{service}-{number:03}" for service, last in CONTROLS.items() for number in range(1, last + 1)}

    assert len(wanted) == 151
    assert {rule.id for rule in RULES} == wanted


def test_ids_are_unique_and_well_formed() -> None:
    ids = [rule.id for rule in RULES]

    assert len(set(ids)) == len(ids)
    assert [id for id in ids if not re.fullmatch(r"GH-[A-Z0-9]+-\d{3}", id)] == []


@pytest.mark.parametrize("id", FIRST_SET)
def test_the_first_set_of_controls_is_mandatory_everywhere(id: str) -> None:
    rule = catalogue.rule(id)

    assert {str(level) for level in rule.levels.values()} == {"mandatory"}
    assert rule.pack == "security"


@pytest.mark.parametrize("folder", PACKS)
def test_each_rule_is_served_by_the_pack_that_it_names_and_by_no_other(folder: str, request: pytest.FixtureRequest) -> None:
    running: RunningPack = request.getfixturevalue(folder)

    info = running.stub.GetAnalyzerInfo(empty_pb2.Empty())
    assert info.name == PACKS[folder]
    expected = {rule.id for rule in catalogue.of_pack(folder)} | {one.id for one in catalogue.META_POLICIES}
    assert {policy.name for policy in info.policies} == expected


def test_each_rule_belongs_to_exactly_one_pack() -> None:
    assert sorted(rule.id for folder in PACKS for rule in catalogue.of_pack(folder)) == sorted(rule.id for rule in RULES)


@pytest.mark.parametrize("folder", PACKS)
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_level_files_are_what_the_rules_say(folder: str, environment: str) -> None:
    written = levels.path(folder, environment).read_text(encoding="utf-8")

    assert written == levels.text(folder, environment), "run: python -m policies levels"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_each_rule_says_why_and_what_to_type(rule: Rule) -> None:
    assert rule.title
    assert rule.why.endswith(".")
    assert rule.remedy
    assert not rule.remedy.endswith(".")
    assert rule.url.startswith("https://")
    assert rule.types or rule.id == "GH-PUL-003"  # reads the region of whatever has one
    assert set(rule.levels) == set(ENVIRONMENTS)


def test_no_level_is_weaker_in_prod_than_in_staging_or_in_staging_than_in_dev() -> None:
    strength = {"disabled": 0, "advisory": 1, "mandatory": 2}
    weaker = [
        rule.id
        for rule in RULES
        if not strength[rule.levels["dev"]] <= strength[rule.levels["staging"]] <= strength[rule.levels["prod"]]
    ]

    assert weaker == []


def test_every_token_exists_in_pulumi_aws() -> None:
    package = Path(pulumi_aws.__file__).parent
    wanted = {one for value in vars(tokens).values() if isinstance(value, tuple) for one in value}
    services = {token.split(":")[1].split("/")[0] for token in wanted}
    folders = [package / ("lambda_" if service == "lambda" else service) for service in services]
    known = {
        found for folder in folders for file in folder.glob("*.py") for found in re.findall(r"aws:\w+/\w+:\w+", file.read_text())
    }

    assert wanted - known == set()


@pytest.mark.parametrize("folder", PACKS)
def test_the_pack_file_names_the_project_environment(folder: str) -> None:
    file = levels.path(folder, "prod").parent.parent / "PulumiPolicy.yaml"
    runtime = yaml.safe_load(file.read_text(encoding="utf-8"))["runtime"]

    assert runtime == {"name": "python", "options": {"toolchain": "pip", "virtualenv": "../../.venv"}}
