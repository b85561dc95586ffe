"""The secret sharing services, and a console that manages the secrets."""

from tests.runtime.features.secrets.conftest import aws, console, module_services, sharing

__all__ = ["aws", "console", "module_services", "sharing"]
