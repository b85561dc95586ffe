"""Faults that only AWS can make, each with the metric or the event that AWS documents: one
notification.
"""

import re
from fnmatch import fnmatchcase

import pytest

from components.monitoring.resource_alarms import GIB
from tests.components.monitoring.alarm_evaluation import notified
from tests.components.program import run
from tests.components.settings.stack_settings import raw_settings
from tests.repository.markers import marked_tests
from tools.docs.alarms import FAULTS as FAULTS_OF_THE_PAGE

STORAGE = raw_settings("prod")["database"]["storage_gib"] * GIB
FAULTS = {
    "a third of the tasks": (
        {"HTTPCode_ELB_5XX_Count": [0.0] * 10 + [20.0] * 10, "RequestCount": [60.0] * 20},
        ("edge-errors", "pages"),
    ),
    "all tasks without a target": (
        {"HTTPCode_ELB_5XX_Count": [0.0] * 10 + [20.0] * 10, "RequestCount": [0.0] * 20},
        ("edge-errors", "pages"),
    ),
    "a few errors": (
        {"HTTPCode_ELB_5XX_Count": [20.0] * 20, "RequestCount": [20_000.0] * 20},
        None,
    ),
    "storage that RDS extends": ({"FreeStorageSpace": [STORAGE * 0.08] * 20}, None),
    "storage that RDS cannot extend": (
        {"FreeStorageSpace": [STORAGE * 0.04] * 20},
        ("database-storage", "pages"),
    ),
    "addresses, interfaces, capacity": (
        {"Invocations": [0.0] * 10 + [1.0] * 10},
        ("tasks-not-started", "tickets"),
    ),
    "a disabled key": ({"Invocations": [0.0] * 10 + [1.0] * 10}, ("key-disabled", "pages")),
    "the region": ({"Heartbeat": [1.0] * 10 + [0.0] * 10}, ("heartbeat", "pages")),
}


@pytest.mark.alarm_triggered(
    "edge-*", "heartbeat", "database-storage", "tasks-not-started", "key-disabled"
)
@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_one_notification(fault: str) -> None:
    minutes, expected = FAULTS[fault]
    rows = notified(minutes)
    if "Invocations" in minutes:  # of the rule whose event test_alarm_paths.py matches
        assert expected is not None
        rule = run("prod").get("cloudwatch.EventRule", expected[0]).inputs["name"]
        assert run("prod").alarms()[expected[0]]["dimensions"] == {"RuleName": rule}
        rows &= {expected}
    assert rows == ({expected} if expected else set())


@pytest.mark.alarm_triggered("certificate-expires", "database-outage")
def test_fault_that_nobody_ends_pages_again() -> None:
    outage = {("database-unavailable", "pages"), ("database-outage", "pages")}
    assert notified({"DatabaseAgeSeconds": [60.0] * 30 + [1860.0] * 10}) == outage
    assert notified({"DatabaseAgeSeconds": [60.0] * 30}) == outage - {("database-outage", "pages")}
    expiry = {("certificate-expiry", "tickets"), ("certificate-expires", "pages")}
    assert notified({"CertificateDays": [9.0] * 2880}) == expiry
    assert notified({"CertificateDays": [20.0] * 2880}) == {("certificate-expiry", "tickets")}


def test_every_documented_fault_is_made_by_a_test() -> None:
    triggered = marked_tests("alarm_triggered")
    composites = run("prod").inputs("cloudwatch.CompositeAlarm")
    for fault, alarm in FAULTS_OF_THE_PAGE.items():
        rule = composites.get(alarm, {}).get("alarmRule", "")
        names = re.findall(r'ALARM\("gatehouse-prod-([\w-]+)"\)', rule) or [alarm]
        made = [name for name in names if any(fnmatchcase(name, row) for row in triggered)]
        assert made, f"{fault}: no test makes it (alarm_triggered)"
