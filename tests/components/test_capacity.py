"""Fargate Spot (`services.spot`) and times without tasks (`services.off_hours`).

tests/sandbox/emulator/test_dev_stack.py deploys both.
"""

from typing import Any

from tests.components.program import Program, run
from tests.components.settings.stack_settings import mistakes, raw_settings

OFF_HOURS = {"stop": "20:30", "start": "07:05", "timezone": "Europe/Berlin"}
CHANGES: dict[str, Any] = {
    "services.off_hours": OFF_HOURS,
    "monitoring.probe_interval_minutes": 0,
    "services.spot": True,
}


def deployed() -> Program:
    return run("dev", changes=CHANGES)


def test_services_run_on_spot_capacity_of_the_cluster() -> None:
    program = deployed()
    (providers,) = program.of_type("ecs/clusterCapacityProviders:ClusterCapacityProviders")
    assert providers.inputs["capacityProviders"] == ["FARGATE", "FARGATE_SPOT"]
    for service in program.of_type("ecs/service:Service"):
        assert service.inputs["capacityProviderStrategies"] == [
            {"capacityProvider": "FARGATE_SPOT", "weight": 1}
        ]
        assert "launchType" not in service.inputs
        assert providers.urn in service.dependencies


def test_services_run_on_demand_by_default() -> None:
    program = run("dev")
    assert program.of_type("ecs/clusterCapacityProviders:ClusterCapacityProviders") == []
    assert {service.inputs["launchType"] for service in program.of_type("ecs/service:Service")} == {
        "FARGATE"
    }


def test_tasks_stop_every_day_and_start_on_weekdays() -> None:
    program = deployed()
    actions = {
        action.name: action.inputs
        for action in program.of_type("appautoscaling/scheduledAction:ScheduledAction")
    }
    assert set(actions) == {
        f"{service}-{action}" for service in ("gateway", "console") for action in ("stop", "start")
    }
    stop, start = actions["gateway-stop"], actions["gateway-start"]
    assert (stop["schedule"], start["schedule"]) == (
        "cron(30 20 * * ? *)",
        "cron(5 7 ? * MON-FRI *)",
    )
    assert {action["timezone"] for action in actions.values()} == {"Europe/Berlin"}
    assert stop["scalableTargetAction"] == {"minCapacity": 0, "maxCapacity": 0}
    target = program.get("appautoscaling/target:Target", "gateway")
    assert start["scalableTargetAction"] == {
        key: target.inputs[key] for key in ("minCapacity", "maxCapacity")
    }
    assert target.ignored == ("minCapacity", "maxCapacity"), (
        "a deployment at night must not start the tasks"
    )


def test_services_always_run_by_default() -> None:
    program = run("dev")
    assert program.of_type("appautoscaling/scheduledAction:ScheduledAction") == []
    assert program.get("appautoscaling/target:Target", "gateway").ignored == ()


def test_prod_accepts_neither() -> None:
    keys = [
        message.partition(" ")[0] for message in mistakes("prod", raw_settings("prod", CHANGES))
    ]
    expected = [
        "monitoring.probe_interval_minutes",
        "services.off_hours.start",
        "services.off_hours.stop",
        "services.spot",
    ]
    assert sorted(keys) == expected
