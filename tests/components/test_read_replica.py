"""The read replica of the database (`database.read_replica`)."""

import json

import pytest

from tests.components.program import Program, run

INSTANCE = "rds/instance:Instance"
INHERITED = {
    *("engine", "engineVersion", "username", "dbName", "allocatedStorage", "dbSubnetGroupName", "manageMasterUserPassword"),
    *("backupRetentionPeriod", "finalSnapshotIdentifier", "storageType", "databaseInsightsMode", "deletionProtection"),
}


@pytest.fixture(scope="module")
def program() -> Program:
    return run("prod", changes={"database.read_replica": True})


def test_replica_has_the_protection_of_its_source(program: Program) -> None:
    source, replica = (program.get(INSTANCE, name).inputs for name in ("database", "database-replica"))
    assert replica["replicateSourceDb"] == source["identifier"]
    assert set(replica) & INHERITED == set(), "inherited, or rejected by RDS for a replica in the region of its source"
    different = {"identifier", "replicateSourceDb", "skipFinalSnapshot", "performanceInsightsRetentionPeriod"}
    assert {name: value for name, value in replica.items() if source.get(name) != value and name not in different} == {}
    assert replica["skipFinalSnapshot"] is True


def test_replica_is_monitored_and_its_logs_are_encrypted(program: Program) -> None:
    replica = program.get(INSTANCE, "database-replica").inputs["identifier"]
    alarms = program.alarms()
    for name in ("replica-lag", "replica-storage"):
        assert alarms[name]["dimensions"] == {"DBInstanceIdentifier": replica}
    assert alarms["replica-lag"]["metricName"] == "ReplicaLag"
    assert program.get("rds/eventSubscription:EventSubscription", "db-instance").inputs["sourceIds"][-1] == replica
    groups = {
        row.inputs["name"] for row in program.of_type("cloudwatch/logGroup:LogGroup") if f"/{replica}/" in row.inputs["name"]
    }
    assert groups == {f"/aws/rds/instance/{replica}/{kind}" for kind in ("postgresql", "upgrade")}
    policy = json.dumps(program.policy("kms/key:Key", "logs"))
    assert all(group in policy for group in groups)


def test_endpoint_is_a_stack_output(program: Program) -> None:
    assert program.exports["database"]["replicaEndpoint"]
    assert "replicaEndpoint" not in run("prod").exports["database"]
    assert [row.name for row in run("prod").of_type(INSTANCE)] == ["database"]
