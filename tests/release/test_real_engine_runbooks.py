"""The commands of the runbooks that change the state or deploy, with the real Pulumi CLI: a stack
that keeps its backups in a second region, and the stack there.
"""

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from moto.rds.models import rds_backends
from pulumi_local.types import ACCOUNT as EMULATED_ACCOUNT

from sandbox.emulator.server import Emulator
from tests import requires
from tests.release.fake_aws import ACCOUNT, ROOT
from tests.release.real_engine import REGION, Project, deploy, running
from tests.runbooks import (
    BLOCK,
    COMPARE,
    DEPLOY,
    PREPARE,
    REPLICATION,
    RESTORE,
    RETAIN,
    STATE,
    STOP_WRITES,
    SWAP,
    restore_values,
)

pytestmark = [requires.PULUMI, requires.program("aws"), requires.program("jq")]
INSTANCE = "aws:rds/instance:Instance"
BACKUPS = "aws:rds/instanceAutomatedBackupsReplication:InstanceAutomatedBackupsReplication"
NAME, SECOND_REGION = "gatehouse-prod-main", "eu-central-1"
RECOVERY = {"recovery": {"stack": "proddr"}}
#: Inputs of an instance that are read from RDS.
READ = {
    "identifier": "DBInstanceIdentifier",
    "instanceClass": "DBInstanceClass",
    "multiAz": "MultiAZ",
    "backupRetentionPeriod": "BackupRetentionPeriod",
}
#: Outputs that the settings of the second stack contain.
OUTPUTS = {
    "aws:route53/zone:Zone": {"zoneId": "Z0123456789ABCDEFGHIJ"},
    "aws:kms/replicaKey:ReplicaKey": {
        "arn": f"arn:aws:kms:{SECOND_REGION}:{ACCOUNT}:key/mrk-{'0' * 32}"
    },
}


class Rds:
    """RDS of the emulator, where a renamed instance keeps its resource ID and its backups."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._numbers = itertools.count(1)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        create = row["operation"] == "create"
        if row["type"] == INSTANCE and create:
            return self._create(row["arn"].split(":")[3], row["inputs"])
        if row["type"] == INSTANCE and row["operation"] in ("update", "read"):
            return self._instance(row)
        if row["type"] == BACKUPS and create:
            region, name = row["inputs"]["sourceDbInstanceArn"].split(":")[3::3]
            database = rds_backends[EMULATED_ACCOUNT][region].databases[name]
            number = database.dbi_resource_id.removeprefix("db-")
            return {"id": f"arn:aws:rds:{SECOND_REGION}:{ACCOUNT}:auto-backup:ab-{number}"}
        if row["type"] == BACKUPS and row["operation"] == "read":
            source = f"db-{row['id'].rpartition('-')[2]}"
            return {"outputs": {"sourceDbInstanceArn": self._described(source)["arn"]}}
        return {"outputs": OUTPUTS.get(row["type"], {}) if create else {}}

    def set_id(self, region: str, name: str) -> str:
        """Set the resource ID of a new instance, because moto gives all instances the same."""
        identity = f"db-{next(self._numbers)}"
        rds_backends[EMULATED_ACCOUNT][region].databases[name].dbi_resource_id = identity
        return identity

    def _create(self, region: str, inputs: dict[str, Any]) -> dict[str, Any]:
        self._emulator.client("rds", region).create_db_instance(
            **{name: inputs[key] for key, name in READ.items()},
            Engine="postgres",
            AllocatedStorage=20,
            MasterUsername="gatehouse_owner",
            ManageMasterUserPassword=True,
        )
        identity = self.set_id(region, inputs["identifier"])
        return {"id": identity, "outputs": {"resourceId": identity}}

    def _instance(self, row: dict[str, Any]) -> dict[str, Any]:
        current = self._described(row["id"])
        if row["operation"] == "read":
            return {"outputs": {**current, "resourceId": row["id"]}}
        # An instance cannot be renamed to the name of another one (RDS User Guide, "Renaming a DB
        # instance"). moto accepts it.
        renamed = current["identifier"] != row["inputs"]["identifier"]
        return {"error": "DBInstanceAlreadyExists"} if renamed else {}

    def _described(self, identity: str) -> dict[str, Any]:
        (row,) = [
            row
            for region in (REGION, SECOND_REGION)
            for row in self._emulator.client("rds", region).describe_db_instances()["DBInstances"]
            if row["DbiResourceId"] == identity
        ]
        arn = row["DBInstanceArn"].replace(EMULATED_ACCOUNT, ACCOUNT)
        return {"arn": arn, **{key: row[name] for key, name in READ.items()}}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with running("prod", tmp_path_factory.mktemp("project")) as project:
        project.account.service = Rds(project.emulator)
        deploy(project, RECOVERY)
        yield project


def resource(project: Project, type_: str) -> dict[str, Any]:
    (found,) = [row for row in project.state()["resources"] if row["type"] == type_]
    return dict(found)


def changes(output: str) -> list[str]:
    return re.findall(r"\d+ to \w+", output.rpartition("Resources:")[2])


def settings(project: Project, changes: dict[str, Any]) -> None:
    project.digests -= 1
    project.write_settings(RECOVERY | changes)


def test_state_owns_the_restored_database(project: Project) -> None:
    rds = project.account.service
    assert isinstance(rds, Rds)
    old = resource(project, INSTANCE)["id"]
    project.run(STOP_WRITES)
    assert project.account.desired["gatehouse-prod-console"] == 0
    values = restore_values(project.emulator.client, REGION)
    project.run(RESTORE, values)
    new = rds.set_id(REGION, f"{NAME}-restored")
    project.run(SWAP, values)
    ids = {f"{NAME}-lost": old, NAME: new}
    shown = project.run(STATE, {f"resource ID of {name}": ids[name] for name in ids})
    assert all(f"{name}\t{ids[name]}" in shown for name in ids)
    project.run(REPLICATION)
    settings(project, {"database": {"apply_immediately": True}})
    previewed = project.run(COMPARE)
    assert changes(previewed) == ["1 to create", "1 to update"]
    assert f"[id={new}]" in previewed
    before = len(project.account.operations)
    project.run(DEPLOY, {"services.console.tasks_min": "3"})
    assert project.account.desired["gatehouse-prod-console"] == 3
    operations = {(row["operation"], row["type"]) for row in project.account.operations[before:]}
    assert operations == {("update", INSTANCE), ("create", BACKUPS)}
    assert resource(project, INSTANCE)["id"] == new
    assert resource(project, BACKUPS)["id"].endswith(f"-{new.removeprefix('db-')}")
    assert project.unfinished() == {}
    project.run("make drift ENV=prod")  # fails if there is a difference


@pytest.mark.slow
def test_release_is_rolled_back_and_verified(project: Project) -> None:
    previous = project.digest
    deploy(project, RECOVERY)
    project.run("make rollback ENV=prod")
    assert project.digest == previous
    project.run("make verify ENV=prod")


def test_second_stack_restores_the_data(project: Project) -> None:
    document = yaml.safe_load(project.file.read_text())
    changed = document["config"]["gatehouse:settings"]
    zone = project.run("pulumi stack output zoneId --stack prod").split()
    restore = json.loads(project.run("pulumi stack output recovery --json --stack prod"))
    changed |= {
        "environment": "prod",
        "region": SECOND_REGION,
        "second_region": "eu-west-3",
        "existing_resources": {"zone_id": zone[0]},
        "recovery": {"restore": restore},
    }
    changed["network"] |= {"zones": [f"{SECOND_REGION}{letter}" for letter in "abc"]}
    changed["services"]["console"] |= {"hosting": "container"}
    project.account.zones = [(changed["domain"], "Gatehouse prod", False)]
    file = project.folder / "Pulumi.proddr.yaml"
    file.write_text(yaml.safe_dump({"config": document["config"]}))
    project.run("make bootstrap ENV=proddr")
    project.run(PREPARE)
    project.run("make deploy ENV=proddr")
    project.run("make verify ENV=proddr")
    project.run("make bootstrap ENV=prod")
    source = resource(project, BACKUPS)["id"]
    (restored,) = [
        row["inputs"]["restoreToPointInTime"]
        for row in project.account.operations
        if row["type"] == INSTANCE and ":proddr:" in row["urn"]
    ]
    assert restored["sourceDbInstanceAutomatedBackupsArn"] == source


def test_destruction_retains_the_records_of_a_stopped_stack(project: Project) -> None:
    project.run(RETAIN)
    project.pulumi("state", "unprotect", "--all", "--yes", "--stack", project.stack)
    before = len(project.account.operations)
    answers = {"Enter the name of the stack to confirm: ": f"{project.stack}\r"}
    assert project.terminal("destroy", answers).wait()[0] == 0
    deleted = {row["type"] for row in project.account.operations[before:]}
    assert len(deleted) > 20
    assert not [name for name in deleted if name.startswith("aws:route53/")]


def test_retained_zone_is_imported(project: Project) -> None:
    guide = (ROOT / "docs" / "guides" / "deploy.md").read_text().replace("dev", project.stack)
    one, several = [block for block in BLOCK.findall(guide) if "pulumi import" in block]
    preview, rest = several.split("\n", 1)
    project.run(preview)
    file, names = project.folder / "import.json", ("platform", "certificate", "certificateZone")
    rows = json.loads(file.read_text())["resources"]
    kept = [row for row in rows if row["name"] in ("aws", *names)]
    (zone,) = {
        row["id"]
        for row in project.account.operations
        if row["type"] == kept[-1]["type"] and row["urn"].startswith("urn:pulumi:prod::")
    }
    kept[-1]["id"] = zone
    file.write_text(json.dumps({"resources": kept}))
    project.account.calls.clear()
    project.run(rest)
    assert resource(project, kept[-1]["type"])["id"] == zone
    assert "preview create Zone certificate" not in project.account.calls
    provider = project.run(one.splitlines()[0]).strip()
    component = resource(project, "gatehouse:edge:Certificate")["urn"]
    project.run(one, {"URN": provider, "URN of the component": component, "zone ID": zone})
    providers = {row["provider"] for row in project.state()["resources"] if "provider" in row}
    assert [name.rpartition("::")[0] for name in providers] == [provider]
