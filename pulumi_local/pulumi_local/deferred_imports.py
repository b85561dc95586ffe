"""Imports the Pulumi SDK without the libraries that it imports and few programs use."""

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType

_DEFERRED = ("dill", "psutil", "pulumi.automation")
"""Modules that take a third of the CPU time of `import pulumi`."""


class _DeferringFinder:
    """Finds the deferred modules, which Python loads when an attribute is read."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name in _DEFERRED else None
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


def import_sdk() -> None:
    """Import `pulumi`. The deferred modules are loaded at their first use."""
    sys.meta_path.insert(0, _DeferringFinder)
    try:
        importlib.import_module("pulumi")
    finally:
        sys.meta_path.remove(_DeferringFinder)
