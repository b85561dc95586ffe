"""Command blocks of the runbooks, executed with the AWS CLI and the emulator;
tests/release/test_real_engine_runbooks.py executes those with `pulumi` and `make`.
"""

import ast
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sandbox.emulator.server import Emulator
from sandbox.local import servers
from sandbox.paths import REPOSITORY
from tests import processes, requires, runbooks
from tests.runbooks import (
    BLOCK,
    COPIES,
    COPY_ITEMS,
    DUMP,
    EVIDENCE,
    OBJECTS,
    RESTORE,
    RESTORE_TABLE,
    SQL,
    SWAP,
    restore_values,
    script,
)

ACCOUNT, REGION, SECOND_REGION = "123456789012", "eu-west-1", "eu-central-1"
COMMAND = re.compile(r"`((?:make|pulumi) [^`]+)`")
#: Commands of the runbooks that other tests execute.
EXECUTED = {
    "make bootstrap ENV=proddr": "tests/release/test_bootstrap.py",
    "make logs ENV=prod PROCESS=migrate": "tests/release/test_preflight.py",
    "make rotate ENV=prod NAME=bootstrap-token NOW=1": "tests/release/test_rotate.py",
    "make rotate ENV=prod NAME=canary-key": "tests/release/test_rotate.py",
    "make rotate ENV=prod NAME=pepper": "tests/release/test_rotate.py",
    "make rotate ENV=prod NAME=<kind>": "tests/release/test_rotate.py",
    "pulumi up": "tests/release/test_real_engine.py",
}


@dataclass(frozen=True)
class Terminal:
    folder: Path
    emulator: Emulator

    def run(self, text: str, values: Mapping[str, str] | None = None, **variables: str) -> str:
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
        done = processes.run(
            ["bash", "-euc", script(text, values)], cwd=self.folder, env=environment
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def client(self, service: str, region: str = REGION) -> Any:
        return self.emulator.client(service, region)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    if reason := requires.missing("aws"):
        pytest.skip(reason)
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    with Emulator.start() as emulator:
        yield Terminal(tmp_path, emulator)


def test_database_is_restored_with_the_properties_of_the_stack(terminal: Terminal) -> None:
    rds = terminal.client("rds")
    values = restore_values(terminal.client, REGION)
    rds.create_db_instance(
        DBInstanceIdentifier="gatehouse-prod-main",
        DBInstanceClass="db.m7g.large",
        Engine="postgres",
        AllocatedStorage=20,
        MasterUsername="gatehouse_owner",
        ManageMasterUserPassword=True,
    )
    terminal.run(RESTORE, values)
    terminal.run(SWAP, values)
    (restored,) = rds.describe_db_instances(DBInstanceIdentifier="gatehouse-prod-main")[
        "DBInstances"
    ]
    assert (restored["MultiAZ"], restored["IAMDatabaseAuthenticationEnabled"]) == (True, True)
    assert restored["DBParameterGroups"][0]["DBParameterGroupName"].endswith("postgres17")
    assert restored["MasterUserSecret"]["KmsKeyId"] == values["KMS key of the secrets"]
    assert restored["BackupRetentionPeriod"] == 35


def test_role_is_blocked_and_evidence_is_kept(terminal: Terminal) -> None:
    iam, rds = terminal.client("iam"), terminal.client("rds")
    iam.create_role(RoleName="stolen", AssumeRolePolicyDocument="{}")
    database = {"DBInstanceIdentifier": "gatehouse-prod-main", "Engine": "postgres"}
    rds.create_db_instance(**database, DBInstanceClass="db.t4g.micro")
    terminal.run(EVIDENCE, {"role": "stolen", "number": "7"})
    policy = iam.get_role_policy(RoleName="stolen", PolicyName="incident")["PolicyDocument"]
    assert policy["Statement"][0]["Effect"] == "Deny"
    assert rds.describe_db_snapshots(DBSnapshotIdentifier="incident-7")["DBSnapshots"]


def test_statement_is_run_by_the_task_of_the_migration(terminal: Terminal) -> None:
    ecs, ec2 = terminal.client("ecs"), terminal.client("ec2")
    ecs.create_cluster(clusterName="gatehouse-prod-main")
    ecs.register_task_definition(
        family="gatehouse-prod-migrate",
        networkMode="awsvpc",
        containerDefinitions=[{"name": "migrate", "image": "gatehouse", "memory": 512}],
    )
    migration = {
        "subnets": [row["SubnetId"] for row in ec2.describe_subnets()["Subnets"]],
        "securityGroup": ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"],
        "assignPublicIp": "ENABLED",
    }
    processes.executable(terminal.folder / "pulumi", f"#!/bin/sh\necho '{json.dumps(migration)}'\n")
    started = json.loads(terminal.run(SQL, {"statement": "SELECT 6 * 7 AS answer"}))
    (container,) = started["tasks"][0]["overrides"]["containerOverrides"]
    assert container["name"] == "migrate"
    python, *arguments = container["command"]
    assert python == "python"
    with servers.postgres() as server:
        environment = {
            **os.environ,
            "GATEHOUSE_ENVIRONMENT": "prod",
            "GATEHOUSE_DATABASE_URL": server.owner_url,
            "GATEHOUSE_DATABASE_AUTH": "url",
        }
        done = processes.run([sys.executable, *arguments], env=environment)
    assert done.stdout == "<Record answer=42>\n", done.stderr


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


def test_copies_in_the_second_region_are_shown(terminal: Terminal) -> None:
    secrets = terminal.client("secretsmanager", SECOND_REGION)
    secrets.create_secret(Name="gatehouse/prod/pepper", SecretString="x")
    assert "AWSCURRENT" in terminal.run(COPIES)


def test_lost_items_of_the_table_are_restored(terminal: Terminal) -> None:
    dynamodb, table = terminal.client("dynamodb"), "gatehouse-prod-tokens"
    dynamodb.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    kept, lost = ({"id": {"S": name}, "uses": {"N": "0"}} for name in ("kept", "lost"))
    for item in (kept, lost):
        dynamodb.put_item(TableName=table, Item=item)
    terminal.run(RESTORE_TABLE, {"time": "2026-01-10T12:00:00Z"})
    used = {**kept, "uses": {"N": "1"}}
    dynamodb.put_item(TableName=table, Item=used)
    dynamodb.delete_item(TableName=table, Key={"id": lost["id"]})
    assert terminal.run(COPY_ITEMS).startswith("lost\n")
    items = dynamodb.scan(TableName=table)["Items"]
    assert sorted(items, key=lambda item: str(item["id"])) == [used, lost]
    assert dynamodb.list_tables()["TableNames"] == [table]


def test_objects_are_restored(terminal: Terminal) -> None:
    s3 = terminal.client("s3")
    location = {"LocationConstraint": REGION}
    s3.create_bucket(Bucket="data", CreateBucketConfiguration=location)
    s3.put_bucket_versioning(Bucket="data", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="data", Key="later", Body=b"x")
    moment = {"time, such as 2026-01-10T12:00:00+00:00": "2020-01-01T00:00:00+00:00"}
    assert terminal.run(OBJECTS, {"bucket": "data", **moment}) == "(0, 1)\n"
    assert "Contents" not in s3.list_objects_v2(Bucket="data")


def test_every_command_of_the_runbooks_is_executed() -> None:
    text = {name: BLOCK.sub("", page) for name, page in runbooks.PAGES.items()}
    assert {name for name in text if text[name] != runbooks.PAGES[name]} == {
        "README",
        "database",
        "recovery",
    }
    files = (Path(__file__), REPOSITORY / "tests/release/test_real_engine_runbooks.py")
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text()))]
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    assert {name for name in vars(runbooks) if re.fullmatch("[A-Z_]+", name)} - used == {"PAGES"}
    commands = {
        " ".join(command.split()).replace("<environment>", "prod")
        for page in text.values()
        for command in COMMAND.findall(page)
        if not command.startswith("make test ")
    }
    assert len(commands) > 5
    arguments = {
        str(node.args[0].value)
        for node in nodes
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith(".run")
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
    blocks = "".join(block for page in runbooks.PAGES.values() for block in BLOCK.findall(page))
    missing = commands - EXECUTED.keys() - arguments
    assert {command for command in missing if command not in blocks} == set()
