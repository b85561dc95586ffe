"""Connections that security groups allow."""

from typing import Any

import pytest

from components.contract import read
from components.network.security_groups import connections
from components.settings.network import ANYWHERE
from tests.components.network.test_network_acls import settings_with


@pytest.mark.parametrize("public_webhooks", [True, False])
def test_console_reaches_the_internet_if_a_setting_needs_it(*, public_webhooks: bool) -> None:
    changes: dict[str, Any] = {
        "notifications.public_webhooks": public_webhooks,
        "telemetry.collector": False,
    }
    settings = settings_with("staging", [], **changes)
    destinations = [
        each
        for each in connections(settings, read())
        if each.source == "console" and each.cidr == ANYWHERE
    ]
    assert len(destinations) == bool(settings.internet_access)
    assert bool(settings.internet_access) is public_webhooks
