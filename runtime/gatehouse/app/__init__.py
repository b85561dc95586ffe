"""The composition root: the only place that constructs things; one module a door, in the order in which its parts start.

A door's module is imported when that door is built: a gate worker carries neither the console's framework nor its database
toolkit (measured: a second of start-up and 35 MB a worker).
"""

from __future__ import annotations

import importlib

from gatehouse.doors import asgi
from gatehouse.settings import Settings

DOORS = ("gate", "console", "share")


def build(door: str, settings: Settings) -> asgi.App:
    """The ASGI application of a door, one of DOORS. Raises SettingsError for a setting that this door needs."""
    if door not in DOORS:
        raise ValueError(f"there is no door {door}")
    application: asgi.App = importlib.import_module(f"gatehouse.app.{door}").build(settings)
    return application
