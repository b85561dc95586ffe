"""The composition root: the only place that constructs things; one module a service, in the order in which its parts start.

A service's module is imported when that service is built: a gateway worker carries neither the console's framework nor its database
toolkit (measured: a second of start-up and 35 MB a worker)."""

from __future__ import annotations

import importlib

from gatehouse.http import asgi
from gatehouse.settings import Settings

SERVICES = ("gateway", "console", "sharing")


def build(service: str, settings: Settings) -> asgi.App:
    """The ASGI application of a service, one of SERVICES. Raises SettingsError for a setting that this service needs."""
    if service not in SERVICES:
        raise ValueError(f"there is no service {service}")
    application: asgi.App = importlib.import_module(f"gatehouse.{service}.app").build(settings)
    return application
