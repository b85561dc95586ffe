"""Update plans: the operations of a confirmed preview, which the last step of a deployment must not exceed.

Format: resourcePlans of the plan file that `pulumi preview --save-plan` writes (sdk/go/common/apitype/plan.go).
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

_REPEATABLE = {"same", "create", "update", "delete", "read"}
"""Operations of a plan after which the engine accepts that the resource is already in its planned state."""


def mark_executed(file: Path, is_excluded: Callable[[str], bool]) -> None:
    """Plan no operation for the resources that were replaced or imported by a deployment that excluded other resources.

    The engine rejects a plan with a replacement that does not take place.

    is_excluded: True for the URN of a resource that the deployment excluded. Resources that depend on it count as excluded too.
    """
    plan = json.loads(file.read_text(encoding="utf-8"))
    resources: dict[str, dict[str, Any]] = plan["resourcePlans"]
    excluded = {urn for urn in resources if is_excluded(urn)}
    dependents = excluded
    while dependents:
        dependents = {urn for urn, row in resources.items() if urn not in excluded and not dependents.isdisjoint(_needs(row))}
        excluded |= dependents
    for urn, row in resources.items():
        if urn not in excluded and not _REPEATABLE.issuperset(row.get("steps") or ()):
            row["steps"] = ["same"]
    file.write_text(json.dumps(plan), encoding="utf-8")


def _needs(resource: dict[str, Any]) -> set[str]:
    """The URNs of the resources on which a planned resource depends."""
    goal = resource.get("goal") or {}
    return {goal.get("parent") or "", *(goal.get("dependencies") or ())}
