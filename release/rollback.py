"""Finds the previously deployed image and writes its digest into a stack file."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gatehouse_policies.files import write_private

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LINE = re.compile(r"^(\s+digest:\s*[\"']?)sha256:[0-9a-f]{64}", re.MULTILINE)
REVISIONS_MAX = 50
"""Maximum number of task definition revisions to search. Each revision requires one API call."""


def previous_digest(
    ecs: Any, definition: str, current: str, is_deployed: Callable[[str], bool]
) -> str:
    """The digest of the newest revision of a task definition family whose image is not `current`
    and was deployed successfully.

    definition: ARN of the service's task definition.
    current: digest in the stack file.
    is_deployed: whether an image was deployed successfully (`image.is_deployed`). A failed
        deployment leaves a revision with its image.
    The search includes deregistered revisions. Raises ValueError if there is no such revision.
    """
    family = definition.rpartition("/")[2].partition(":")[0]
    rejected = {"", current}
    for arn in _revisions(ecs, family):
        digest = _digest(
            ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"],
            family.rpartition("-")[2],
        )
        if digest not in rejected:
            if is_deployed(digest):
                return digest
            rejected.add(digest)
    raise ValueError(
        f"{family} has no earlier deployment of another image that succeeded. Use DIGEST=sha256:..."
    )


def write_digest(file: Path, digest: str) -> None:
    """Replace `image.digest` in a stack file. Raises ValueError unless the file contains exactly
    one digest.
    """
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"{digest!r} is not a digest; expected sha256:<64 hex digits>")
    text = file.read_text(encoding="utf-8")
    changed, count = _LINE.subn(rf"\g<1>{digest}", text)
    if count != 1:
        raise ValueError(
            f"{file.name}: expected one line `digest: sha256:...`, got {count}; set "
            f"image.digest manually"
        )
    mode = file.stat().st_mode
    write_private(file.resolve(), changed)
    file.chmod(mode)  # it contains no secret, and others read it


def _revisions(ecs: Any, family: str) -> Iterator[str]:
    arns: list[str] = []
    for status in ("ACTIVE", "INACTIVE"):
        pages = ecs.get_paginator("list_task_definitions").paginate(
            familyPrefix=family, status=status, sort="DESC"
        )
        # The prefix also matches longer family names.
        arns += [
            arn
            for page in pages
            for arn in page["taskDefinitionArns"]
            if arn.rpartition("/")[2].partition(":")[0] == family
        ]
    yield from sorted(arns, key=lambda arn: int(arn.rpartition(":")[2]), reverse=True)[
        :REVISIONS_MAX
    ]


def _digest(definition: dict[str, Any], process: str) -> str:
    """The digest of the image of the container of a process, which runs the Gatehouse image; "" if
    it has none.
    """
    image = next(
        (row["image"] for row in definition["containerDefinitions"] if row["name"] == process), ""
    )
    match = _DIGEST.search(str(image))
    return match[0] if match else ""
