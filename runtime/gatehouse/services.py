"""Builds the application of a service by its name.

The module of a service is imported when the service is built, so that a gateway worker does not load the console's dependencies
(measured: a second of start-up time and 35 MB per worker).
"""

from __future__ import annotations

import importlib

from gatehouse.http import asgi
from gatehouse.settings import Settings

SERVICES = ("gateway", "console", "sharing")


def build(service: str, settings: Settings) -> asgi.App:
    """The ASGI application of a service in SERVICES. Raises SettingsError if a setting of this service is missing or invalid."""
    if service not in SERVICES:
        raise ValueError(f"unknown service {service}")
    application: asgi.App = importlib.import_module(f"gatehouse.{service}.app").build(settings)
    return application
