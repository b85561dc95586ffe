"""Detection of secrets: precision and recall on the corpus, and command-line arguments."""

import re

import pytest

from policies.analysis.secret_detection import arguments_look_secret, looks_secret
from sandbox.paths import REPOSITORY
from tests.policies.analysis.secret_corpus import HARMLESS, SECRETS

MISSED = {"KENNWORT", "SIM_PIN"}
FALSE_ALARMS = {"RUM_CLIENT_TOKEN"}


def test_errors_on_the_corpus_are_the_known_ones() -> None:
    assert {name for name, value in SECRETS if not looks_secret(name, value)} == MISSED
    assert {name for name, value in HARMLESS if looks_secret(name, value)} == FALSE_ALARMS


def test_guide_states_measured_precision_and_recall() -> None:
    found = sum(looks_secret(name, value) for name, value in SECRETS)
    false = sum(looks_secret(name, value) for name, value in HARMLESS)
    guide = " ".join((REPOSITORY / "docs/guides/policies.md").read_text(encoding="utf-8").split())

    stated = re.search(
        r"(\d+) secrets and (\d+) other settings, the precision is (\d+) percent and the recall (\d+) percent", guide
    )
    assert stated is not None
    assert list(map(int, stated.groups())) == [
        len(SECRETS),
        len(HARMLESS),
        int(100 * found / (found + false)),
        int(100 * found / len(SECRETS)),
    ]


@pytest.mark.parametrize(
    ("arguments", "secret"),
    [
        ("--password=hunter2-Prod", True),
        ("--db-password=hunter2-Prod", True),
        ("--requirepass=hunter2", True),
        ("postgres://app:" + "s3cr3t@db.internal/app", True),
        ("--password-file=/run/secrets/db", False),
        ("--password=${DB_PASSWORD}", False),
        ("--max-tokens=4096", False),
        ("serve", False),
        ("redis-server --requirepass hunter2hunter2", True),
        ("app -api-key hunter2hunter2 --verbose", True),
        ("app --token --verbose", False),
        ("app --token", False),
        ("", False),
        ("mysql --password $DB_PASSWORD", False),
        ("app --password-file /run/secrets/db --max-tokens 4096", False),
    ],
)
def test_arguments_with_a_secret_are_detected(arguments: str, secret: bool) -> None:
    assert arguments_look_secret(arguments.split()) is secret
