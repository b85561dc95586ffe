"""Records where a program asks which environment runs it. Its answer differs in the engine, so that
a program can create other resources there.
"""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pulumi
import pulumi.runtime

from pulumi_local.source_lines import source_line

_FUNCTIONS: tuple[tuple[ModuleType, str], ...] = (
    (pulumi, "get_organization"),
    (pulumi.runtime, "is_dry_run"),
)


@contextlib.contextmanager
def recorded_calls(root: Path) -> Iterator[dict[str, None]]:
    """A collection that receives a text such as "__main__.py:7 calls is_dry_run". Calls by
    libraries are not recorded.
    """
    calls: dict[str, None] = {}
    originals = [getattr(module, name) for module, name in _FUNCTIONS]

    def recorded(original: Callable[..., Any], name: str) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            current = inspect.currentframe()
            frame = current.f_back if current else None
            line = source_line(frame.f_code.co_filename, frame.f_lineno, root) if frame else ""
            if line:
                calls[f"{line} calls {name}, whose result differs in the engine"] = None
            return original(*args, **kwargs)

        return call

    for (module, name), original in zip(_FUNCTIONS, originals, strict=True):
        setattr(module, name, recorded(original, name))
    try:
        yield calls
    finally:
        for (module, name), original in zip(_FUNCTIONS, originals, strict=True):
            setattr(module, name, original)
