"""Invalid environment variables: the error names the variable and never prints its value."""

import base64
import json
import os
import sys
import tomllib
from pathlib import Path

import pytest
from gatehouse.core.errors import SettingsError
from gatehouse.features.verification.change_feed import POLL_S
from gatehouse.platform.settings import _AT_MOST, _REQUIRED, PREFIX, Settings, load

from tests import processes

BASE = {
    "GATEHOUSE_ENVIRONMENT": "dev",
    "GATEHOUSE_DATABASE_URL": "postgresql://app@127.0.0.1/gatehouse",
    "GATEHOUSE_PEPPER": json.dumps(
        {"current": 1, "generations": {"1": base64.b64encode(bytes(32)).decode()}}
    ),
}
#: Values that only free text accepts.
INVALID = {
    "infinite number": "1e400",
    "400 digits": "9" * 400,
    "5000 digits": "9" * 5000,
    "NaN": "NaN",
    "unclosed arrays": "[" * 20_000,
    "unclosed objects": '{"a":' * 5000,
    "unpaired surrogate": "\ud800",
    "escaped byte": "\udcff",
    "NUL": "canary\0",
    "generation without integer": '{"current": 1e400, "generations": {"1e400": 7}}',
    "duplicate member": '{"current": 1, "current": 2, "generations": []}',
}


@pytest.mark.parametrize("field", sorted(Settings.model_fields))
def test_invalid_variable_is_named_without_its_value(field: str) -> None:
    name, problems = PREFIX + field.upper(), {}
    for kind, value in INVALID.items():
        try:
            load({**BASE, name: value})
        except SettingsError as error:
            text = str(error)
            is_named = name in text or "environment" in text
            if not is_named or "canary" in text or "1e400" in text or len(text) >= 1000:
                problems[kind] = text[:1000]
    assert problems == {}


TRIMMED = ("bootstrap_token", "canary_key", "database_password", "oidc_client_secret")


def test_credentials_are_trimmed() -> None:
    secrets = {
        name
        for name, field in Settings.model_fields.items()
        if "SecretStr" in str(field.annotation)
    }
    assert secrets == {*TRIMMED, "pepper", "session_key"}  # which are JSON
    others = {"OIDC_CLIENT_ID": "a", "OIDC_ISSUER": "https://a", "OIDC_AUDIENCE": "a"}
    others |= {"OIDC_ROLES": "a=owner", "CONSOLE_URL": "https://b"}
    environment = BASE | {PREFIX + name: value for name, value in others.items()}
    for around in ("{}\n", " {}\r\n", "\ufeff{}"):
        texts = {PREFIX + name.upper(): around.format("canary x") for name in TRIMMED}
        settings = load({**environment, **texts})
        assert {getattr(settings, name).get_secret_value() for name in TRIMMED} == {"canary x"}
    for name in {*TRIMMED} - {"database_password"}:
        for value in (" \n", "canary\ncanary", "ücanary"):
            with pytest.raises(SettingsError, match=PREFIX + name.upper()) as raised:
                load({**environment, PREFIX + name.upper(): value})
            assert "canary" not in str(raised.value)


CONTRACT = tomllib.loads((Path(__file__).parents[3] / "runtime/contract.toml").read_text())
#: The secrets of each process, and the URLs that can contain a password.
SECRETS = [(each["name"], each["processes"][0]) for each in CONTRACT["secret"]] + [
    ("GATEHOUSE_OIDC_CLIENT_SECRET", "console"),
    ("GATEHOUSE_DATABASE_URL", "gateway"),
    ("GATEHOUSE_REDIS_URL", "gateway"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "process"), SECRETS)
def test_process_prints_no_malformed_secret(name: str, process: str) -> None:
    pepper = {PREFIX + key: BASE["GATEHOUSE_PEPPER"] for key in ("PEPPER", "SESSION_KEY")}
    closed = "postgresql://app:canary@127.0.0.1:1/gatehouse"
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(PREFIX)},
        **{**BASE, **pepper, "GATEHOUSE_DATABASE_AUTH": "url", "GATEHOUSE_DATABASE_URL": closed},
        **({"GATEHOUSE_DATABASE_AUTH": "password"} if name.endswith("DATABASE_PASSWORD") else {}),
        name: "redis://u:canary\ncanary@[x" if name.endswith("URL") else "canary\n canary",
    }
    main = "from gatehouse.commands.cli import main; main()"
    command = ["migrate"] if process == "migrate" else ["serve", process]
    result = processes.run([sys.executable, "-c", main, *command], env=environment, timeout=120)
    output = result.stdout + result.stderr
    assert (result.returncode != 0, "GATEHOUSE_" in output, "canary" in output) == (
        True,
        True,
        False,
    ), output


def test_maximum_age_of_the_key_state_exceeds_the_interval_of_polls() -> None:
    with pytest.raises(SettingsError, match="GATEHOUSE_MAX_STALENESS_MS"):
        load({**BASE, "GATEHOUSE_MAX_STALENESS_MS": str(int(POLL_S * 1000))})


#: Values of a setting and of its maximum that are equal, with the other settings that they need.
EQUAL = {
    ("session_idle_timeout_s", "session_max_age_s"): (3600, {}),
    ("step_up_max_age_s", "session_max_age_s"): (600, {"session_idle_timeout_s": 60}),
    ("streams_max", "connections_max"): (4096, {}),
}


@pytest.mark.parametrize(("setting", "maximum"), _AT_MOST)
def test_setting_that_exceeds_its_maximum_is_rejected(setting: str, maximum: str) -> None:
    value, others = EQUAL[setting, maximum]
    allowed = {setting: value, maximum: value, **others}
    environment = BASE | {PREFIX + name.upper(): str(number) for name, number in allowed.items()}
    load(environment)
    with pytest.raises(SettingsError, match=f"{setting.upper()} must not .*{maximum.upper()}"):
        load({**environment, PREFIX + setting.upper(): str(value + 1)})


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("CHECKPOINT_ARCHIVE=bucket", "must be s3://bucket/prefix/ or file:/path"),
        ("OIDC_ISSUER=http://login.example", "must be an https:// URL"),
        ("OIDC_SCOPES=profile", ""),
        ("OIDC_ROLES=platform=king", "must be comma-separated value=role"),
        ("FEATURES=session=off", ".*unknown feature; the features are header-verify, proxy"),
        ("FEATURES=sessions", ".*must be name=on or name=off"),
        ("FEATURES=sessions=false", ".*must be name=on or name=off"),
        ("FEATURES=proxy=on,proxy=off", ".*each name once"),
    ],
)
def test_invalid_setting_is_explained(setting: str, message: str) -> None:
    name, _, value = setting.partition("=")
    with pytest.raises(SettingsError, match=f"{PREFIX}{name}: {message}"):
        load({**BASE, PREFIX + name: value})


@pytest.mark.parametrize("setting", _REQUIRED)
def test_setting_without_the_settings_that_it_requires_is_rejected(setting: str) -> None:
    value = {"checkpoint_archive": "file:/archive", "oidc_issuer": "https://issuer.example"}
    required = " and ".join(PREFIX + name.upper() for name in _REQUIRED[setting])
    with pytest.raises(SettingsError, match=f"{setting.upper()} requires {required}"):
        load({**BASE, PREFIX + setting.upper(): value.get(setting, "any")})
