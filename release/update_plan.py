"""Edits update plans. A plan limits the last step of a deployment to the operations of the confirmed preview.

Format: resourcePlans in the plan file that `pulumi preview --save-plan` writes (sdk/go/common/apitype/plan.go).
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

_REPEATABLE = {"same", "create", "update", "delete", "read"}
"""Planned operations for which the engine accepts a resource that is already in its planned state."""


def mark_executed(file: Path, is_excluded: Callable[[str], bool]) -> None:
    """Set the planned operation to `same` for resources that an update with excluded resources has replaced or imported.

    The engine rejects a plan that contains a replacement that is not executed.

    is_excluded: True for the URN of a resource that the deployment excluded. Its dependents also count as excluded.
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
