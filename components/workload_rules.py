"""What settings of workloads must agree on with each other and with the rest of the stack file."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from components.settings import Settings

ROLLOUT_MINUTES_MAX = 720
"""A deployment holds the stack's state for as long as it moves traffic; a working day is enough to watch it."""

Mistake = tuple[str, str]


def disagreements(settings: "Settings") -> Iterator[Mistake]:
    """Key and message of each value that is possible alone, but not with the others."""
    yield from _rollout(settings)
    yield from _rates(settings)


def _rollout(settings: "Settings") -> Iterator[Mistake]:
    rollout = settings.rollout
    if rollout.minutes > ROLLOUT_MINUTES_MAX:
        yield (
            "rollout.bake_minutes",
            f"is {rollout.bake_minutes}; allowed: with step_minutes and step_percent at most {ROLLOUT_MINUTES_MAX} minutes in "
            f"all, here {rollout.minutes}",
        )


def _rates(settings: "Settings") -> Iterator[Mistake]:
    """A door's own bound above the common one would never be reached."""
    for door, requests in settings.edge.door_requests_max().items():
        if requests > settings.edge.requests_max:
            yield (
                f"edge.{door}_requests_max",
                f"is {requests}; allowed: edge.requests_max ({settings.edge.requests_max}) or less",
            )
