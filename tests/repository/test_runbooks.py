"""Commands in the runbooks: every AWS CLI option exists in the API."""

import re
from pathlib import Path

import boto3
import pytest
from botocore import xform_name

ROOT = Path(__file__).resolve().parents[2]
RECOVERY = (
    (ROOT / "docs" / "runbooks" / "recovery.md").read_text(encoding="utf-8").replace("\\\n", " ")
)
COMMANDS = re.findall(r"\$ aws rds ((?:restore|modify)[\w-]+) (.+)", RECOVERY)
RESTORED = {
    *("db-subnet-group-name", "vpc-security-group-ids", "db-parameter-group-name", "multi-az"),
    "enable-iam-database-authentication",
}


@pytest.mark.parametrize(("command", "arguments"), COMMANDS)
def test_rds_options_exist(command: str, arguments: str) -> None:
    model = boto3.client(
        "rds", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
    ).meta.service_model
    operations = {xform_name(name, "-"): name for name in model.operation_names}
    shape = model.operation_model(operations[command]).input_shape
    assert shape is not None
    members = shape.members
    options = {xform_name(name, "-") for name in members}
    options |= {
        f"no-{xform_name(name, '-')}"
        for name, member in members.items()
        if member.type_name == "boolean"
    }
    # The AWS CLI names these list parameters after the operation.
    options |= {"cloudwatch-logs-export-configuration"}
    used = set(re.findall(r"--([\w-]+)", arguments))
    assert used - options == set()


def test_restored_database_is_complete() -> None:
    restored: set[str] = set()
    modified: set[str] = set()
    for command, arguments in COMMANDS:
        (restored if command.startswith("restore") else modified).update(
            re.findall(r"--([\w-]+)", arguments)
        )
    assert restored >= RESTORED
    assert modified >= {
        "apply-immediately",
        "manage-master-user-password",
        "master-user-secret-kms-key-id",
    }
