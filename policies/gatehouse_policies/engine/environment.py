"""What the packs read from the configuration of a stack: the environment whose enforcement levels
apply (dev, staging or prod), and its Regions.
"""

import json
import os
from collections.abc import Mapping

from gatehouse_policies.engine.rule import ENVIRONMENTS

CONFIG_KEY = "environment"
PROD = ENVIRONMENTS[-1]
VARIABLE = "GATEHOUSE_ENVIRONMENT"
"""Set by a check, whose option or configuration file can select another environment."""


def of_stack(project: str, stack: str, config: Mapping[str, str]) -> str:
    """The environment of a stack.

    A stack named dev, staging or prod has the environment of that name. Other stacks set the
    environment in their configuration, as `<project>:environment` or as `environment` in the object
    `<project>:settings`. The default is prod, which has the strictest levels.

    config: values of the stack configuration, keyed by "namespace:key". Objects are JSON text.
    """
    settings = _object(config.get(f"{project}:settings", ""))
    for candidate in (stack, config.get(f"{project}:{CONFIG_KEY}"), settings.get(CONFIG_KEY)):
        if candidate in ENVIRONMENTS:
            return str(candidate)
    return PROD


def of_process() -> str:
    """The environment of the stack that the engine analyzes, from the variables that the engine
    sets for a pack.
    """
    variables = os.environ
    if variables.get(VARIABLE) in ENVIRONMENTS:
        return variables[VARIABLE]
    return of_stack(
        variables.get("PULUMI_PROJECT", ""), variables.get("PULUMI_STACK", ""), _configuration()
    )


def stack_of_process() -> tuple[str, str]:
    """The names of the project and of the stack that the engine analyzes."""
    return os.environ.get("PULUMI_PROJECT", ""), os.environ.get("PULUMI_STACK", "")


def regions_of_process() -> frozenset[str]:
    """The Regions that the object `<project>:settings` of the stack names: `region` and
    `second_region`.
    """
    project = os.environ.get("PULUMI_PROJECT", "")
    settings = _object(_configuration().get(f"{project}:settings", ""))
    return frozenset(str(settings[key]) for key in ("region", "second_region") if settings.get(key))


def _configuration() -> dict[str, str]:
    config = _object(os.environ.get("PULUMI_CONFIG", ""))
    return {key: str(value) for key, value in config.items()}


def _object(text: str) -> dict[str, object]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
