"""Deployments of the stacks with fake outputs."""

from functools import cache

from pulumi_local.outputs.providers import FakeProvider
from pulumi_local.runner import run
from pulumi_local.types import Deployment

from components.settings.fields import ENVIRONMENTS
from sandbox.paths import REPOSITORY

STACKS = ENVIRONMENTS
"""The stacks of the repository: one for each environment."""


def deployed(stack: str, settings: str = "") -> Deployment:
    """The deployment of a stack. settings: JSON that replaces the settings of the stack file."""
    return _deployed(stack, settings)


@cache  # A cache of `deployed` would distinguish calls with and without the default.
def _deployed(stack: str, settings: str) -> Deployment:
    config = {"gatehouse:settings": settings} if settings else None
    return run(REPOSITORY, stack, FakeProvider(), preview=False, config=config)
