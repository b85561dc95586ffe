"""Deployment of the synthetic probe: role and alarms."""

from tests.components.program import run
from tests.iam_evaluation import Call, decide


def test_probe_role_writes_to_its_namespace_only() -> None:
    identity = [run("dev").policy("iam/rolePolicy:RolePolicy", "probe")]
    role = "arn:aws:iam::123456789012:role/gatehouse-dev-probe"
    for namespace, allowed in (
        ("Gatehouse/dev", True),
        ("Gatehouse/prod", False),
        ("AWS/ApplicationELB", False),
    ):
        call = Call(role, "cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": namespace})
        assert decide(call, identity=identity).allowed is allowed, namespace


def test_probe_alarm_does_not_roll_back_deployments() -> None:
    program = run("prod")
    assert not [
        a
        for s in program.of_type("ecs/service:Service")
        for a in s.inputs["alarms"]["alarmNames"]
        if "unreachable" in a
    ]


def test_interval_0_disables_the_probe() -> None:
    program = run("dev", changes={"monitoring.probe_interval_minutes": 0})
    assert not [
        a for a in program.resources if a.name == "probe" or a.name.endswith("-unreachable")
    ]
    assert "probe" not in program.exports
    (dashboard,) = program.of_type("cloudwatch/dashboard:Dashboard")
    assert "Synthetic probe" not in str(dashboard.inputs["dashboardBody"])
