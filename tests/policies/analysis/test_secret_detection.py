"""Detection of secrets."""

import re
from itertools import cycle, islice
from pathlib import Path

import pytest
from gatehouse_policies.analysis.secret_detection import arguments_look_secret, looks_secret

from tests.cases import cases
from tests.policies.analysis.secret_corpus import HARMLESS, SECRETS

_CASES = cases(__file__)

GUIDE = Path(__file__).resolve().parents[3] / "docs/guides/policies.md"
MISSED = {"KENNWORT", "SIM_PIN"}
FALSE_ALARMS = {"RUM_CLIENT_TOKEN"}


def test_errors_on_the_corpus_are_the_known_ones() -> None:
    assert {name for name, value in SECRETS if not looks_secret(name, value)} == MISSED
    assert {name for name, value in HARMLESS if looks_secret(name, value)} == FALSE_ALARMS


@pytest.mark.parametrize("name", ["tunnel1PresharedKey", "VPN_PRESHARED_KEY"])
def test_word_before_key_makes_it_a_secret(name: str) -> None:
    assert looks_secret(name, "correct-horse-7")
    assert not looks_secret(name.lower().replace("preshared", "partition"), "correct-horse-7")


@pytest.mark.parametrize("part", ["key-", "-eyJ", "bearer aaaaaaaaaaaa "])
def test_large_value_takes_no_quadratic_time(part: str) -> None:
    assert looks_secret("db_secret", f"{300_000 // len(part) * part}!")


def test_guide_states_measured_precision_and_recall() -> None:
    found = sum(looks_secret(name, value) for name, value in SECRETS)
    false = sum(looks_secret(name, value) for name, value in HARMLESS)
    guide = " ".join(GUIDE.read_text().split())

    stated = re.search(
        r"(\d+) secrets and (\d+) other settings, the precision is (\d+) percent and the "
        r"recall (\d+) percent",
        guide,
    )
    assert stated is not None
    assert list(map(int, stated.groups())) == [
        len(SECRETS),
        len(HARMLESS),
        int(100 * found / (found + false)),
        int(100 * found / len(SECRETS)),
    ]


def _chars(alphabet: str, count: int) -> str:
    return "".join(islice(cycle(alphabet), count))


_HEX = "4f7a0c9e2b8d1635"
_BASE36 = "q7x1m9c4k2w8b5z3"
_BASE62 = "Q7xM9c4K2wB5zT3n"
_UPPER = "Q7X1M9C4K2W8B5Z3"


TOKENS = [
    ("ABIA", _chars(_UPPER, 16)),
    ("ABSK", _chars(_BASE62, 120)),
    ("AGE-SECRET-KEY-1", _chars(_UPPER, 58)),
    *(
        (f"gl{kind}-", _chars(_BASE36, 20))
        for kind in ("pat", "agent", "cbt", "dt", "ft", "imt", "oas", "ptt", "rt", "soat")
    ),
    ("GR1348941", _chars(_BASE62, 20)),
    ("ATATT", _chars(_BASE62, 60)),
    ("https://hooks.slack.com/services/", "T0AAAAAAA/B0AAAAAAA/" + _chars(_BASE62, 24)),
    ("https://acme.webhook.office.com/webhookb2/", _chars(_HEX, 32)),
    ("https://discord.com/api/webhooks/", "1234567890/" + _chars(_BASE62, 40)),
    ("whsec_", _chars(_BASE62, 32)),
    ("sq0atp-", _chars(_BASE62, 22)),
    ("shpat_", _chars(_HEX, 32)),
    ("shippo_live_", _chars(_HEX, 40)),
    ("EZAK", _chars(_BASE62, 54)),
    ("GOCSPX-", _chars(_BASE62, 28)),
    ("a1B8Q~", _chars(_BASE62, 34)),
    ("LTAI", _chars(_BASE36, 20)),
    ("v1.0-", _chars(_HEX, 24) + "-" + _chars(_HEX, 146)),
    ("dop_v1_", _chars(_HEX, 64)),
    ("HRKU-", _chars(_BASE62, 60)),
    ("pscale_pw_", _chars(_BASE36, 40)),
    ("hvs.", _chars(_BASE62, 90)),
    (_chars(_BASE62, 14) + ".atlasv1.", _chars(_BASE62, 67)),
    ("pul-", _chars(_HEX, 40)),
    ("dp.pt.", _chars(_BASE36, 43)),
    ("ops_eyJ", _chars(_BASE62, 250)),
    ("A3-", "Q7X1M9-C4K2W8B5Z3Q-7X1M9-C4K2W-8B5Z3"),
    ("sha256~", _chars(_BASE62, 43)),
    ("dapi", _chars(_HEX, 32)),
    ("pat", _chars(_BASE62, 14) + "." + _chars(_HEX, 64)),
    ("sk-ant-api03-", _chars(_BASE62, 93)),
    ("sk-proj-", _chars(_BASE62, 60)),
    ("hf_", _chars(_BASE62, 34)),
    ("glc_", _chars(_BASE62, 40)),
    ("glsa_", _chars(_BASE62, 32) + "_" + _chars(_HEX, 8)),
    ("NRAK-", _chars(_UPPER, 27)),
    ("dt0c01.", _chars(_UPPER, 24) + "." + _chars(_UPPER, 64)),
    ("sntryu_", _chars(_HEX, 64)),
    ("sqp_", _chars(_HEX, 40)),
    ("lin_api_", _chars(_BASE62, 40)),
    ("PMAK-", _chars(_HEX, 24) + "-" + _chars(_HEX, 34)),
    ("pnu_", _chars(_BASE36, 36)),
    ("p8e-", _chars(_HEX, 32)),
    ("1234567890123456|", _chars(_BASE62, 27)),
    ("API-", _chars(_UPPER, 26)),
    ("pat.", ".".join((_chars(_BASE62, 22), _chars(_BASE62, 24), _chars(_BASE62, 20)))),
    ("rubygems_", _chars(_HEX, 48)),
    ("dckr_pat_", _chars(_BASE62, 27)),
    ("xkeysib-", _chars(_HEX, 64) + "-" + _chars(_BASE62, 16)),
    ("", _chars(_HEX, 32) + "-us12"),
    ("123456789:", _chars(_BASE62, 35)),
    ("SK", _chars(_HEX, 32)),
]


@pytest.mark.parametrize(("prefix", "rest"), TOKENS)
def test_tokens_of_known_formats_are_detected_under_any_name(prefix: str, rest: str) -> None:
    assert looks_secret("SETTING", prefix + rest)
    assert not looks_secret("SETTING", prefix + rest[:4])


@pytest.mark.parametrize(("arguments", "secret"), _CASES["arguments_with_a_secret_are_detected"])
def test_arguments_with_a_secret_are_detected(arguments: str, secret: bool) -> None:
    assert arguments_look_secret(arguments.split()) is secret
