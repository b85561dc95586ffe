"""The emulated resource types by type token: `ROWS`. One module per AWS service, each with a `ROWS` of its own."""

import pkgutil
from importlib import import_module

from sandbox.emulator.request import Make
from sandbox.emulator.resource_type import Row, create

_MODULES = [import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
ROWS: dict[str, Row] = {token: row for module in _MODULES for token, row in module.ROWS.items()}

__all__ = ["ROWS", "Make", "Row", "create"]
