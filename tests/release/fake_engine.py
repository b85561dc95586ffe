"""The parts of the Pulumi engine that exclude resources from an update, show them to the policy
packs, and compare an update with a plan."""

import fnmatch
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

from gatehouse_policies.program.providers import PreviewProvider
from gatehouse_policies.program.runner import run
from gatehouse_policies.program.types import Deployment

from sandbox.paths import REPOSITORY

STACK = "dev"


@cache
def program() -> Deployment:
    """The dev stack with the outputs of a first preview."""
    return run(REPOSITORY, STACK, PreviewProvider(), preview=True)


def excluded(words: Sequence[str]) -> set[str]:
    """URNs that a command line excludes: the matches of --exclude and, with --exclude-dependents,
    their dependents.
    """
    patterns = [after for option, after in pairwise(words) if option == "--exclude"]
    urns: set[str] = set()
    for resource in program().resources:
        registration = resource.registration
        is_match = any(fnmatch.fnmatch(registration.urn, pattern) for pattern in patterns)
        is_dependent = "--exclude-dependents" in words and not urns.isdisjoint(
            (registration.parent, *registration.dependencies)
        )
        if is_match or is_dependent:
            urns.add(registration.urn)
    return urns


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
