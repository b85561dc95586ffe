"""The parts of a stack file about how processes are replaced, what runs beside them, and who may deploy them."""

from typing import Annotated

from pydantic import Field

from components.allowed import whole, word
from components.sections import Section

ROLLING = "rolling"


class Rollout(Section):
    """How a new version takes the place of the old one."""

    strategy: Annotated[
        str,
        word(ROLLING, "blue_green", "canary", "linear"),
        Field(
            description="rolling replaces task by task. The others start all new tasks first: blue_green moves the traffic at "
            "once, canary a share first, linear share by share. An alarm moves it back."
        ),
    ]
    bake_minutes: Annotated[
        int,
        whole(0, 1440, "minutes"),
        Field(description="Minutes that the old tasks stay after all traffic has moved, so that going back takes seconds."),
    ]
    step_percent: Annotated[
        int,
        whole(3, 50, "percent of the traffic"),
        Field(description="The first share with canary, each share with linear."),
    ]
    step_minutes: Annotated[
        int,
        whole(1, 1440, "minutes"),
        Field(description="Minutes between a share and the next; the alarms look at the new tasks meanwhile."),
    ]

    @property
    def minutes(self) -> int:
        """How long traffic moves and bakes, beside the start of the tasks."""
        steps = {"canary": 1, "linear": -(-100 // self.step_percent) - 1}.get(self.strategy, 0)
        return 0 if self.strategy == ROLLING else steps * self.step_minutes + self.bake_minutes
