"""The settings of a stack in the repository, changed for a test."""

import json
from typing import Any

from gatehouse_policies.program.project import load

from sandbox.paths import REPOSITORY

_KEY = "gatehouse:settings"


def changed_settings(stack: str, **changes: Any) -> dict[str, str]:
    """The configuration to pass to `run`. A setting in `changes` replaces the setting in the stack
    file.
    """
    return {_KEY: json.dumps({**json.loads(load(REPOSITORY, stack).config[_KEY]), **changes})}
