"""PostgreSQL and Valkey."""

from pathlib import Path

from components.database.rds_instance import final_snapshot
from tests.components.program import OPTIONS, run
from tests.components.settings.stack_settings import STACKS

ROOT = Path(__file__).resolve().parents[2]


def test_cache_evicts_nothing() -> None:
    (parameters,) = run("prod").of_type("elasticache.ParameterGroup")
    assert parameters.inputs["family"] == "valkey8"
    assert parameters.inputs["parameters"] == [{"name": "maxmemory-policy", "value": "noeviction"}]
    (cache,) = run("prod").of_type("elasticache.ReplicationGroup")
    assert cache.inputs["parameterGroupName"] == parameters.inputs["name"]


def test_major_version_has_its_own_parameter_group() -> None:
    program = run("dev", changes=OPTIONS)
    for deployed, family in ((run("dev"), "postgres17"), (program, "postgres18")):
        group = deployed.get("rds.ParameterGroup", "database").inputs
        assert (group["name"], group["family"]) == (f"gatehouse-dev-main-{family}", family)


def test_connections_are_logged_with_a_value_that_the_version_accepts() -> None:
    """RDS rejects the whole group for one unknown value, and the stack would have no database."""
    for program, value in ((run("dev"), "1"), (run("dev", changes=OPTIONS), "all")):
        group = program.get("rds.ParameterGroup", "database").inputs
        assert {"name": "log_connections", "value": value, "applyMethod": "immediate"} in group[
            "parameters"
        ]


def test_recreated_stack_has_another_final_snapshot() -> None:
    names = [
        final_snapshot("gatehouse-prod-main", f"subnet-{digits}")
        for digits in ("0a1b2c3d4e5f60718", "0a1b2c3d4e5f60719")
    ]
    assert names == [
        "gatehouse-prod-main-final-0a1b2c3d4e5f60718",
        "gatehouse-prod-main-final-0a1b2c3d4e5f60719",
    ]
    identifier = run("prod").get("rds.Instance", "database").inputs["finalSnapshotIdentifier"]
    assert identifier.startswith("gatehouse-prod-main-final-")


def test_actions_of_the_runbooks_take_effect_at_once() -> None:
    program = run("prod")
    cache = program.get("elasticache.ReplicationGroup", "cache").inputs
    assert cache["applyImmediately"] is True
    assert program.get("rds.Instance", "database").inputs["applyImmediately"] is False
    names = "database.instance_class", "database.apply_immediately"
    for name, texts in {
        "alarms": [
            row.inputs["alarmDescription"] for row in program.of_type("cloudwatch.MetricAlarm")
        ],
        "runbook": [(ROOT / "docs/runbooks/database.md").read_text()],
    }.items():
        found = [text for text in texts if names[0] in text]
        assert found, name
        assert [text for text in found if names[1] not in text] == []


def test_updates_reach_staging_before_prod_and_do_not_replace_the_cache() -> None:
    windows = {}
    for stack in STACKS:
        cache = run(stack).get("elasticache.ReplicationGroup", "cache")
        database = run(stack).get("rds.Instance", "database").inputs
        assert cache.inputs["maintenanceWindow"] == database["maintenanceWindow"]
        assert cache.inputs["autoMinorVersionUpgrade"] is True
        assert cache.ignore_changes == ("engineVersion",)
        windows[stack] = database["maintenanceWindow"]
    assert windows["staging"] == "tue:03:30-tue:04:30"
    assert windows["prod"] == "wed:03:30-wed:04:30"
    upgraded = run("dev", changes=OPTIONS)
    assert upgraded.get("elasticache.ReplicationGroup", "cache").ignore_changes == ()
