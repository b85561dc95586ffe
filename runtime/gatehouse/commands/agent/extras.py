"""Loads packages that only some options of the agent require."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from gatehouse.core.errors import SettingsError


def load(package: str, option: str) -> Any:
    """Imports a package of the extra `agent`. Raises SettingsError if the package is not
    installed.
    """
    try:
        return import_module(package)
    except ImportError:
        raise SettingsError(
            f"{option} requires the package {package}. Install it with: pip install "
            f"'gatehouse[agent]'"
        ) from None
