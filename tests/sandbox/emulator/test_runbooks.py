"""Every command block of the runbooks, executed from its text: `aws` is the AWS CLI with the
emulator, `pulumi` and `make` record their arguments, and the state is a file.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from moto.rds.models import rds_backends

from sandbox.emulator.server import Emulator
from sandbox.local import servers
from sandbox.paths import REPOSITORY
from tests.components.program import run

ACCOUNT, REGION, SECOND_REGION = "123456789012", "eu-west-1", "eu-central-1"
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
RUNBOOKS = {
    page.stem: list[str](BLOCK.findall(page.read_text(encoding="utf-8")))
    for page in (REPOSITORY / "docs" / "runbooks").glob("*.md")
}
RESTORE, SWAP, STATE, DUMP, PREPARE, COPIES, OBJECTS = RUNBOOKS["recovery"]
LOST, NEW = "db-LOST", "db-NEW"
SCRIPT = """#!/bin/sh
echo "$0 $@" >> arguments
for last; do :; done
case "$1 $2" in
  "stack export") cp stack.json "$last" ;;
  "stack import") cp "$last" stack.json ;;
esac
"""


@dataclass(frozen=True, slots=True)
class Terminal:
    """A folder in which blocks are executed."""

    folder: Path
    emulator: Emulator

    def run(self, text: str, values: Mapping[str, str] | None = None, **variables: str) -> str:
        """Execute a block of recovery.md, or a part of it. values: values of the placeholders.
        Returns the output.
        """
        text = re.sub(r"(?m)^ *\$ ", "", text)
        for placeholder, value in (values or {}).items():
            text = text.replace(f"<{placeholder}>", value)
        assert not re.search(r"<[a-z]", text), text
        key, secret = self.emulator.credentials
        environment = {
            **os.environ,
            **variables,
            "PATH": f"{self.folder}:{variables.get('PATH', os.environ['PATH'])}",
            "PYTHONPATH": str(REPOSITORY),
            "AWS_ENDPOINT_URL": self.emulator.endpoint,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
        }
        done = subprocess.run(
            ["bash", "-euc", text],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def client(self, service: str, region: str = REGION) -> Any:
        return self.emulator.client(service, region)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    if shutil.which("aws") is None:
        pytest.skip("no AWS CLI. Run: pip install awscli")
    for name in ("pulumi", "make"):
        (tmp_path / name).write_text(SCRIPT, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    with Emulator.start() as emulator:
        yield Terminal(tmp_path, emulator)


def resource_ids(terminal: Terminal) -> dict[str, str]:
    instances = terminal.client("rds").describe_db_instances()["DBInstances"]
    return {row["DBInstanceIdentifier"]: row["DbiResourceId"] for row in instances}


@pytest.mark.requirement("ECS-11", "CG-23")
def test_state_contains_the_restored_database(terminal: Terminal) -> None:
    rds, ec2 = terminal.client("rds"), terminal.client("ec2")
    subnets = [row["SubnetId"] for row in ec2.describe_subnets()["Subnets"]]
    group = ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]
    key = terminal.client("kms").create_key()["KeyMetadata"]["Arn"]
    rds.create_db_subnet_group(
        DBSubnetGroupName="gatehouse-prod-main", DBSubnetGroupDescription="x", SubnetIds=subnets
    )
    rds.create_db_parameter_group(
        DBParameterGroupName="gatehouse-prod-main-postgres17",
        DBParameterGroupFamily="postgres17",
        Description="x",
    )
    rds.create_db_instance(
        DBInstanceIdentifier="gatehouse-prod-main",
        DBInstanceClass="db.m7g.large",
        Engine="postgres",
        AllocatedStorage=20,
        MasterUsername="gatehouse_owner",
        ManageMasterUserPassword=True,
    )
    terminal.run(
        RESTORE,
        {
            "time": "2026-01-10T12:00:00Z",
            "security group of the database": group,
            "major version": "17",
            "database.instance_class": "db.m7g.large",
        },
    )
    # moto gives every instance the same resource ID.
    instances = rds_backends[ACCOUNT][REGION].databases
    instances["gatehouse-prod-main"].dbi_resource_id = LOST
    instances["gatehouse-prod-main-restored"].dbi_resource_id = NEW
    terminal.run(
        SWAP,
        {
            "KMS key of the secrets": key,
            "KMS key of the data": key,
            "role gatehouse-prod-database-monitor": f"arn:aws:iam::{ACCOUNT}:role/monitor",
        },
    )
    ids = {"gatehouse-prod-main-lost": LOST, "gatehouse-prod-main": NEW}
    assert resource_ids(terminal) == ids
    (restored,) = rds.describe_db_instances(DBInstanceIdentifier="gatehouse-prod-main")[
        "DBInstances"
    ]
    assert (restored["MultiAZ"], restored["IAMDatabaseAuthenticationEnabled"]) == (True, True)
    assert restored["DBParameterGroups"][0]["DBParameterGroupName"].endswith("postgres17")
    assert restored["MasterUserSecret"]["KmsKeyId"] == key
    assert restored["BackupRetentionPeriod"] == 35
    state = terminal.folder / "stack.json"
    database = {"id": LOST, "outputs": {"id": LOST, "resourceId": LOST}}
    state.write_text(json.dumps({"resources": [database]}), encoding="utf-8")
    shown = terminal.run(
        STATE, {f"resource ID of {name}": identity for name, identity in ids.items()}
    )
    assert all(f"{name}\t{identity}" in shown for name, identity in ids.items())
    assert LOST not in state.read_text(encoding="utf-8")
    assert json.loads(state.read_text(encoding="utf-8"))["resources"][0]["id"] == NEW
    arguments = (terminal.folder / "arguments").read_text(encoding="utf-8").splitlines()
    assert [line.split("pulumi ")[1].partition(" --")[0] for line in arguments] == [
        *("stack export", "stack import", "refresh")
    ]


@pytest.mark.requirement("ECS-11")
def test_dump_is_restored(terminal: Terminal) -> None:
    dump, restore = DUMP.strip().splitlines()
    with servers.postgres() as server:
        login = {"PGPASSWORD": server.owner_password, "PGPORT": str(server.port)}
        login["PATH"] = f"{server.binaries}:{os.environ['PATH']}"
        rows = "SET ROLE gatehouse_owner; CREATE TABLE example AS SELECT 7 AS number;"
        server.sql(rows, "gatehouse")
        terminal.run(dump, {"endpoint": "127.0.0.1"}, **login)
        server.sql("DROP TABLE example", "gatehouse")
        terminal.run(restore, {"new": "127.0.0.1"}, **login)
        assert server.sql("SELECT number FROM example", "gatehouse") == "7"


@pytest.mark.requirement("ECS-13")
def test_copies_in_the_second_region_are_shown(terminal: Terminal) -> None:
    secrets = terminal.client("secretsmanager", SECOND_REGION)
    secrets.create_secret(Name="gatehouse/prod/pepper", SecretString="x")
    assert "AWSCURRENT" in terminal.run(COPIES)


@pytest.mark.requirement("CG-20", "ECS-13")
def test_objects_are_restored(terminal: Terminal) -> None:
    s3 = terminal.client("s3")
    location = {"LocationConstraint": REGION}
    s3.create_bucket(Bucket="data", CreateBucketConfiguration=location)
    s3.put_bucket_versioning(Bucket="data", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="data", Key="later", Body=b"x")
    moment = {"time, such as 2026-01-10T12:00:00+00:00": "2020-01-01T00:00:00+00:00"}
    assert terminal.run(OBJECTS, {"bucket": "data", **moment}) == "(0, 1)\n"
    assert "Contents" not in s3.list_objects_v2(Bucket="data")


@pytest.mark.parametrize("page", ["guides/deploy", "runbooks/recovery"])
def test_targets_of_the_first_update_include_their_dependencies(page: str) -> None:
    text = (REPOSITORY / "docs" / f"{page}.md").read_text(encoding="utf-8")
    (command,) = [row for row in BLOCK.findall(text) if "--target '" in row]
    patterns = re.findall(r"--target '([^']+)'", command)
    delivery = {"delivery": {"repository": "example/gatehouse", "state_bucket": "state"}}
    resources = run("prod", changes=delivery).resources
    targets = {
        row.urn for row in resources if any(fnmatchcase(row.urn, pattern) for pattern in patterns)
    }
    assert any(urn.endswith("repository:Repository::runtime") for urn in targets)
    missing = {
        name
        for row in resources
        if row.urn in targets
        for name in row.dependencies
        if name not in targets
    }
    assert missing == set()


def test_prepared_stack_is_created(terminal: Terminal) -> None:
    terminal.run(PREPARE)
    up, image = (terminal.folder / "arguments").read_text(encoding="utf-8").splitlines()
    assert "pulumi up --stack proddr --target" in up
    assert image.endswith("make image ENV=proddr")


def test_other_runbooks_have_no_block() -> None:
    assert [name for name, found in RUNBOOKS.items() if found] == ["recovery"]
