"""Finds the image that ran before, and writes its digest back into the stack file; the deployment itself is the usual one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LINE = re.compile(r"^(\s+digest:\s*[\"']?)sha256:[0-9a-f]{64}", re.MULTILINE)
REVISIONS_MAX = 50
"""How far back it looks. Each is one call."""


def previous_digest(ecs: Any, definition: str, current: str) -> str:
    """The digest of the newest revision of this family that ran another image than `current`.

    definition: ARN of the service's task definition. current: digest in the stack file. Deregistered revisions count: ECS keeps
    them readable. Raises ValueError when there is none.
    """
    family = definition.rpartition("/")[2].partition(":")[0]
    for arn in _revisions(ecs, family):
        found = _digest(ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"])
        if found and found != current:
            return found
    raise ValueError(f"{family} never ran another image than {current[:19]}...; there is nothing to go back to")


def write_digest(file: Path, digest: str) -> None:
    """Replace `image.digest` of a stack file and nothing else. Raises ValueError when it does not stand there once."""
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"{digest!r} is no digest; it looks like sha256:<64 hex digits>")
    text = file.read_text(encoding="utf-8")
    changed, count = _LINE.subn(rf"\g<1>{digest}", text)
    if count != 1:
        raise ValueError(f"{file.name}: expected one line `digest: sha256:...`, found {count}; set image.digest by hand")
    file.write_text(changed, encoding="utf-8")


def _revisions(ecs: Any, family: str) -> Iterator[str]:
    """ARNs of a family, newest first, in use or not."""
    found: list[str] = []
    for status in ("ACTIVE", "INACTIVE"):
        pages = ecs.get_paginator("list_task_definitions").paginate(familyPrefix=family, status=status, sort="DESC")
        # A prefix also finds longer names: gateway and gateway-two.
        found += [
            arn for page in pages for arn in page["taskDefinitionArns"] if arn.rpartition("/")[2].partition(":")[0] == family
        ]
    yield from sorted(found, key=lambda arn: int(arn.rpartition(":")[2]), reverse=True)[:REVISIONS_MAX]


def _digest(definition: dict[str, Any]) -> str:
    """Of the first container, which is ours; sidecars come after it."""
    match = _DIGEST.search(str(definition["containerDefinitions"][0]["image"]))
    return match[0] if match else ""
