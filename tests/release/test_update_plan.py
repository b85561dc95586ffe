"""Plans after the step without the ECS services: replacements that took place are not planned again."""

import json
from pathlib import Path

from release.update_plan import mark_executed

REPLACED = ["create-replacement", "replace", "delete-replaced"]


def test_executed_replacements_and_imports_are_marked(tmp_path: Path) -> None:
    plan = {
        "parameter-group": {"goal": {}, "steps": REPLACED},
        "imported": {"goal": {}, "steps": ["import"]},
        "bucket": {"goal": {}, "steps": ["update"]},
        "queue": {"goal": {}, "steps": ["create"]},
        "task": {"goal": {}, "steps": REPLACED},
        "service": {"goal": {"dependencies": ["task"]}, "steps": REPLACED},
        "scaling": {"goal": {"parent": "service"}, "steps": REPLACED},
        "removed": {"steps": ["delete"]},
    }
    file = tmp_path / "plan.json"
    file.write_text(json.dumps({"config": {"a": "b"}, "resourcePlans": plan}))
    mark_executed(file, lambda urn: urn == "task")
    marked = json.loads(file.read_text())
    assert marked["config"] == {"a": "b"}
    assert {urn: row["steps"] for urn, row in marked["resourcePlans"].items()} == {
        "parameter-group": ["same"],
        "imported": ["same"],
        "bucket": ["update"],
        "queue": ["create"],
        "task": REPLACED,
        "service": REPLACED,
        "scaling": REPLACED,
        "removed": ["delete"],
    }
