"""Tasks that are added while responses are slow (`services.<service>.latency_max_ms`)."""

import pytest

from tests.components.alarm_evaluation import alarm_state
from tests.components.program import run

STEP, POLICY = "StepScaling", "appautoscaling/policy:Policy"


def test_slow_responses_add_a_quarter_of_the_tasks() -> None:
    program = run("prod", changes={"services.gateway.latency_max_ms": 250})
    (policy,) = (row for row in program.of_type(POLICY) if row.inputs["policyType"] == STEP)
    configuration = policy.inputs["stepScalingPolicyConfiguration"]
    assert policy.name == "gateway-latency"
    assert (configuration["adjustmentType"], configuration["minAdjustmentMagnitude"]) == ("PercentChangeInCapacity", 1)
    assert configuration["stepAdjustments"] == [{"metricIntervalLowerBound": "0", "scalingAdjustment": 25}]
    alarm = program.alarms()["gateway-scale-out"]
    assert alarm["alarmActions"] == ["arn:aws:mock:::gateway-latency"]
    assert "okActions" not in alarm
    assert alarm["metricQueries"] != program.alarms()["gateway-latency"]["metricQueries"]
    assert {query["metric"]["metricName"] for query in alarm["metricQueries"] if "metric" in query} == {"TargetResponseTime"}
    # The metric is in seconds.
    assert alarm_state(alarm, [{"green": 0.251}] * 3) == "ALARM"
    assert alarm_state(alarm, [{"green": 0.249}] * 3) == alarm_state(alarm, [{}] * 3) == "OK"


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_response_times_add_no_tasks_by_default(stack: str) -> None:
    program = run(stack)
    assert {row.inputs["policyType"] for row in program.of_type(POLICY)} == {"TargetTrackingScaling"}
    assert "gateway-scale-out" not in program.alarms()
