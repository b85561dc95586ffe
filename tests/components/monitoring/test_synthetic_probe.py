"""Alarms of the synthetic probe, and a stack without it."""

from tests.components.program import CLOSED, run


def test_probe_alarm_does_not_roll_back_deployments() -> None:
    program = run("prod")
    assert not [
        a
        for s in program.of_type("ecs/service:Service")
        for a in s.inputs["alarms"]["alarmNames"]
        if "unreachable" in a
    ]


def test_interval_0_disables_the_probe() -> None:
    program = run("dev", changes=CLOSED)
    assert not [
        a for a in program.resources if a.name == "probe" or a.name.endswith("-unreachable")
    ]
    assert "probe" not in program.exports
    (dashboard,) = program.of_type("cloudwatch/dashboard:Dashboard")
    assert "Synthetic probe" not in str(dashboard.inputs["dashboardBody"])
