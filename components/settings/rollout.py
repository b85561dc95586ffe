"""How the ECS services change to a new version."""

from typing import Annotated

from components.settings.fields import Flag, Production, Section, by_environment, choice

ROLLING, AT_ONCE = "rolling", "at_once"

STEP_PERCENT, STEP_MINUTES = 10, 10
"""Percentage of the traffic in the first step of `canary`, and minutes until the second step. The
alarms monitor the new tasks meanwhile."""

BAKE_MINUTES = 15
"""Minutes that the old tasks keep running after all traffic has shifted. A rollback during this
time takes seconds."""


class RolloutSettings(Section):
    """The deployment strategy of the ECS services. `canary` shifts 10 percent of the traffic first
    and the rest after 10 minutes. The old tasks keep running for 15 minutes after that."""

    strategy: Annotated[
        str,
        choice(ROLLING, "blue_green", "canary", AT_ONCE),
        Production("another strategy than rolling", lambda strategy: strategy != ROLLING),
    ] = by_environment(ROLLING, "canary", "canary")
    """`rolling` replaces tasks one by one. `blue_green` and `canary` start all new tasks first,
    then shift all traffic at once, or one part first. An alarm rolls the deployment back.
    `make rollback` uses `at_once`: `blue_green` after which the old tasks stop.
    """
    smoke_test: Flag = by_environment(False, True, True)
    """Test the new tasks with requests through the load balancer before production traffic shifts
    to them. A failed test rolls the deployment back. No effect with `rolling`."""

    @property
    def tests_traffic(self) -> bool:
        """Whether a deployment has test traffic and a smoke test."""
        return self.smoke_test and self.strategy != ROLLING

    @property
    def minutes(self) -> int:
        """Minutes for shifting the traffic and baking, excluding the time to start the tasks."""
        step_minutes = STEP_MINUTES if self.strategy == "canary" else 0
        return step_minutes + self.bake_minutes

    @property
    def bake_minutes(self) -> int:
        """Minutes for which the old tasks keep running after all traffic was shifted."""
        return 0 if self.strategy in (ROLLING, AT_ONCE) else BAKE_MINUTES
