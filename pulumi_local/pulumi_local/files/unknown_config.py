"""Configuration values that are unknown in a check: encrypted values (`secure:`) and values of
Pulumi ESC.

A secret getter such as `require_secret` returns an unknown secret output, as for a value that is
unknown in a preview. A plain getter returns the marker of an unknown value, or text that contains
the marker. The engine decodes such text as unknown.
"""

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pulumi
from pulumi.runtime.config import get_config

from pulumi_local.errors import CommandError
from pulumi_local.files.project import Project
from pulumi_local.outputs.lookup_decisions import InventedText, Lookups
from pulumi_local.types import UNKNOWN

_TYPES = {
    "": "text",
    "_bool": "a boolean",
    "_int": "an integer",
    "_float": "a number",
    "_object": "an object",
}


@contextlib.contextmanager
def unknown_config(project: Project, lookups: Lookups) -> Iterator[None]:
    """Replace the methods of `pulumi.Config` until the end of the block, if the stack has unknown
    values.
    """
    if not project.unknown:
        yield
        return
    originals: dict[str, Callable[..., Any]] = {}
    for verb, secret, kind in product(("get", "require"), ("", "_secret"), _TYPES):
        name = f"{verb}{secret}{kind}"
        originals[name] = getattr(pulumi.Config, name)
        getter = _getter(originals[name], project, lookups, verb == "require", bool(secret), kind)
        setattr(pulumi.Config, name, getter)
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(pulumi.Config, name, original)


def _getter(
    original: Callable[..., Any],
    project: Project,
    lookups: Lookups,
    required: bool,
    secret: bool,
    kind: str,
) -> Callable[..., Any]:
    @functools.wraps(original)
    def get(config: pulumi.Config, key: str, *args: Any, **kwargs: Any) -> Any:
        full_key = config.full_key(key)
        value = get_config(full_key)
        # Environments of Pulumi ESC can set any key that the stack file does not set.
        if value != UNKNOWN and not (value is None and required and project.imports_environment):
            return original(config, key, *args, **kwargs)
        if secret:
            return _unknown_secret()
        if kind == "":
            source = f"the configuration value {full_key} ([stack_config] in policies.toml)"
            return InventedText(UNKNOWN).of(lookups, source)
        raise CommandError(
            f"The program reads {full_key} as {_TYPES[kind]}, but the value is encrypted or in "
            f"Pulumi ESC. "
            f'Add an example value to the configuration file: [stack_config] "{full_key}" = '
            f"... (--config FILE)."
        )

    return get


def _unknown_secret() -> pulumi.Output[Any]:
    def resolved(value: Any) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_event_loop().create_future()
        future.set_result(value)
        return future

    return pulumi.Output(set(), resolved(pulumi.UNKNOWN), resolved(False), resolved(True))
