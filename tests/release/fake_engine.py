"""The comparison of an update with a plan."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any


def unplanned(
    allowed: Mapping[str, Any],
    planned: Mapping[str, Any],
    replaced: Collection[str],
    pending: Sequence[str],
) -> str:
    """The error of an update that is limited to a plan, or "".

    The engine first executes the steps of the resources that the program declares, then it deletes
    the resources in `pending`, which earlier updates have replaced
    (pkg/resource/deploy/step_generator.go, GenerateDeletes).

    allowed: plan that limits the update. planned: steps of the changes of the program. replaced:
    resources that were already replaced after the preview.
    """
    for urn, row in planned.items():
        steps = [
            *(["same"] if urn in replaced else row["steps"]),
            *["delete-replaced"] * pending.count(urn),
        ]
        if allowed[urn]["steps"] != steps:
            return f"error: {urn}: {steps} is not allowed by the plan: {allowed[urn]['steps']}\n"
    return ""
