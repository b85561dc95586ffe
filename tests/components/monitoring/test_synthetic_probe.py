"""A stack without the synthetic probe."""

from tests.components.program import CLOSED, run


def test_probe_can_be_disabled() -> None:
    program = run("dev", changes=CLOSED)
    assert not [
        a for a in program.resources if a.name == "probe" or a.name.endswith("-unreachable")
    ]
    assert "probe" not in program.exports
    (dashboard,) = program.of_type("cloudwatch.Dashboard")
    assert "Synthetic probe" not in str(dashboard.inputs["dashboardBody"])
