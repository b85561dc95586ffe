"""Invalid environment variables: the error names the variable and never prints its value."""

from __future__ import annotations

import base64
import json

import pytest
from gatehouse.errors import SettingsError
from gatehouse.settings import PREFIX, Settings, load

BASE = {
    "GATEHOUSE_ENVIRONMENT": "dev",
    "GATEHOUSE_DATABASE_URL": "postgresql://app@127.0.0.1/gatehouse",
    "GATEHOUSE_PEPPER": json.dumps({"current": 1, "generations": {"1": base64.b64encode(bytes(32)).decode()}}),
}
#: None of them fits any variable that is not free text.
ODD = {
    "a number beyond all": "1e400",
    "four hundred digits": "9" * 400,
    "five thousand digits": "9" * 5000,
    "no number": "NaN",
    "no bottom": "[" * 20_000,
    "an object of no bottom": '{"a":' * 5000,
    "half a character": "\ud800",
    "a byte that is no text": "\udcff",
    "a NUL": "canary\0",
    "generations of no number": '{"current": 1e400, "generations": {"1e400": 7}}',
    "generations twice": '{"current": 1, "current": 2, "generations": []}',
}


@pytest.mark.parametrize("odd", ODD.values(), ids=list(ODD))
@pytest.mark.parametrize("field", sorted(Settings.model_fields))
def test_invalid_variable_is_named_without_its_value(field: str, odd: str) -> None:
    name = PREFIX + field.upper()
    try:
        load({**BASE, name: odd})
    except SettingsError as error:
        text = str(error)
        assert name in text or "environment" in text
        assert "canary" not in text
        assert "1e400" not in text
        assert len(text) < 1000
