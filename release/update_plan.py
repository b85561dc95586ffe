"""Edits update plans. A plan limits the last step of a deployment to the operations of the
confirmed preview.

Format: resourcePlans in the plan file that `pulumi preview --save-plan` writes
    (sdk/go/common/apitype/plan.go).
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

_REPEATABLE = {"same", "create", "update", "delete", "read"}
"""Planned operations for which the engine accepts a resource that is already in its planned
state.
"""


def operations(file: Path) -> dict[str, list[str]]:
    rows = json.loads(file.read_text(encoding="utf-8"))["resourcePlans"]
    return {urn: row.get("steps") or [] for urn, row in rows.items()}


def mark_executed(
    file: Path, is_excluded: Callable[[str], bool], state: Iterable[Mapping[str, Any]]
) -> None:
    """Remove the planned operations that an update with excluded resources has executed:
    replacements and imports.

    The engine rejects a plan with an operation that is not executed, and an operation that is not
    in the plan. An update that excludes resources deletes nothing: a replaced resource stays in the
    state, marked for deletion, until the next update.

    is_excluded: True for the URN of a resource that the update excluded. Its dependents also count
        as excluded.
    state: resources in the state of the stack after the update.
    """
    plan = json.loads(file.read_text(encoding="utf-8"))
    resources: dict[str, dict[str, Any]] = plan["resourcePlans"]
    excluded = {urn for urn in resources if is_excluded(urn)}
    dependents = excluded
    while dependents:
        dependents = {
            urn
            for urn, row in resources.items()
            if urn not in excluded and not dependents.isdisjoint(_needs(row))
        }
        excluded |= dependents
    replaced = Counter(row["urn"] for row in state if row.get("delete"))
    for urn, row in resources.items():
        if (
            urn not in excluded
            and "goal" in row
            and not _REPEATABLE.issuperset(row.get("steps") or ())
        ):
            row["steps"] = ["same", *["delete-replaced"] * replaced[urn]]
    file.write_text(json.dumps(plan), encoding="utf-8")


def _needs(resource: dict[str, Any]) -> set[str]:
    goal = resource.get("goal") or {}
    return {goal.get("parent") or "", *(goal.get("dependencies") or ())}
