"""Fixtures of the secret sharing services."""

from tests.runtime.features.sharing.conftest import aws, module_services, sharing

__all__ = ["aws", "module_services", "sharing"]
