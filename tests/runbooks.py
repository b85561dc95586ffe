"""The command blocks of docs/runbooks."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from sandbox.paths import REPOSITORY

BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
PAGES = {page.stem: page.read_text() for page in (REPOSITORY / "docs" / "runbooks").glob("*.md")}
(
    STOP_WRITES,
    RESTORE,
    SWAP,
    STATE,
    REPLICATION,
    COMPARE,
    DEPLOY,
    DUMP,
    PREPARE,
    COPIES,
    RETAIN,
    RESTORE_TABLE,
    COPY_ITEMS,
    OBJECTS,
) = BLOCK.findall(PAGES["recovery"])
(EVIDENCE,) = BLOCK.findall(PAGES["README"])
(SQL,) = BLOCK.findall(PAGES["database"])


def script(text: str, values: Mapping[str, str] | None = None) -> str:
    """The commands of a block, or of a part of it. values: values of the placeholders."""
    text = re.sub(r"(?m)^ *\$ ", "", text)
    for placeholder, value in (values or {}).items():
        text = text.replace(f"<{placeholder}>", value)
    assert not re.search(r"<[a-z]", text), text
    return text


def restore_values(client: Callable[[str, str], Any], region: str) -> dict[str, str]:
    """Create what RESTORE and SWAP name. Returns the values of their placeholders."""
    rds, ec2 = client("rds", region), client("ec2", region)
    rds.create_db_subnet_group(
        DBSubnetGroupName="gatehouse-prod-main",
        DBSubnetGroupDescription="x",
        SubnetIds=[row["SubnetId"] for row in ec2.describe_subnets()["Subnets"]],
    )
    rds.create_db_parameter_group(
        DBParameterGroupName="gatehouse-prod-main-postgres17",
        DBParameterGroupFamily="postgres17",
        Description="x",
    )
    key = client("kms", region).create_key()["KeyMetadata"]["Arn"]
    return {
        "time": "2026-01-10T12:00:00Z",
        "security group of the database": ec2.describe_security_groups()["SecurityGroups"][0][
            "GroupId"
        ],
        "major version": "17",
        "database.instance_class": "db.m7g.large",
        "KMS key of the secrets": key,
        "KMS key of the data": key,
        "role gatehouse-prod-database-monitor": "arn:aws:iam::123456789012:role/monitor",
    }
