"""Replacements of the first step are not planned again."""

import json
from pathlib import Path
from typing import Any

from release.update_plan import mark_executed

REPLACED = ["create-replacement", "replace", "delete-replaced"]


def test_executed_replacements_and_imports_are_removed(tmp_path: Path) -> None:
    plan = {
        "parameter-group": {"goal": {}, "steps": REPLACED},
        "definition": {"goal": {}, "steps": [*REPLACED, "delete-replaced"]},
        "left": {"goal": {}, "steps": ["same", "delete-replaced"]},
        "rule": {"goal": {}, "steps": ["delete-replaced", "replace", "create-replacement"]},
        "imported": {"goal": {}, "steps": ["import"]},
        "bucket": {"goal": {}, "steps": ["update"]},
        "queue": {"goal": {}, "steps": ["create"]},
        "task": {"goal": {}, "steps": REPLACED},
        "service": {"goal": {"dependencies": ["task"]}, "steps": REPLACED},
        "scaling": {"goal": {"parent": "service"}, "steps": REPLACED},
        "removed": {"steps": ["delete"]},
        "removed and left": {"steps": ["delete-replaced"]},
    }
    file = tmp_path / "plan.json"
    file.write_text(json.dumps({"config": {"a": "b"}, "resourcePlans": plan}))
    state: list[dict[str, Any]] = [
        {"urn": "parameter-group"},
        {"urn": "parameter-group", "delete": True},
        *({"urn": "definition", "delete": True} for _ in range(2)),
        {"urn": "left", "delete": True},
        {"urn": "task", "delete": True},
    ]
    mark_executed(file, lambda urn: urn == "task", state)
    marked = json.loads(file.read_text())
    assert marked["config"] == {"a": "b"}
    assert {urn: row["steps"] for urn, row in marked["resourcePlans"].items()} == {
        "parameter-group": ["same", "delete-replaced"],
        "definition": ["same", "delete-replaced", "delete-replaced"],
        "left": ["same", "delete-replaced"],
        "rule": ["same"],
        "imported": ["same"],
        "bucket": ["update"],
        "queue": ["create"],
        "task": REPLACED,
        "service": REPLACED,
        "scaling": REPLACED,
        "removed": ["delete"],
        "removed and left": ["delete-replaced"],
    }
