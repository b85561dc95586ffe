"""A setting of a Core is in every interface and document."""

from typing import Any

import msgspec
from gatehouse.commands.cli.common.shapes import parameters
from gatehouse.core.cores import DEFAULT_SETTINGS, CoreSettings
from gatehouse.services.gateway.routes import document

from tests.runtime.console_client import Console
from tests.runtime.core_records import EXCLUDING, changed_settings, register
from tools.docs import core_settings

NAMES = CoreSettings.__struct_fields__


def test_every_setting_is_in_the_api_the_command_line_and_the_documentation() -> None:
    schema = document()["components"]["schemas"]["DeclaredSettings"]
    assert (tuple(schema["properties"]), schema["additionalProperties"]) == (NAMES, False)
    assert tuple(parameter.name for parameter in parameters(CoreSettings)) == NAMES
    rows = core_settings.settings_table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == list(NAMES)
    options = core_settings.module().splitlines()[3:-1]
    assert set(NAMES) > core_settings.OF_SERVICES
    shown = [name for name in NAMES if name not in core_settings.OF_SERVICES]
    for name, option in zip(shown, options, strict=True):
        assert name.removesuffix("_s").removesuffix("s").replace("_", "-") in option


def test_defaults_are_valid_and_not_stored() -> None:
    assert msgspec.json.encode(DEFAULT_SETTINGS) == b"{}"
    values = {name: getattr(DEFAULT_SETTINGS, name) for name in NAMES}
    assert msgspec.convert(msgspec.to_builtins(values), CoreSettings) == DEFAULT_SETTINGS


async def test_console_shows_every_setting_that_is_not_the_default(console: Console) -> None:
    settings = changed_settings()
    assert settings.keys() == set(NAMES) - EXCLUDING.keys()
    await register(console, "settings", settings={**settings, "of_a_later_version": 1})
    assert await shown(console) == settings
    for name, value in EXCLUDING.items():
        await register(console, "settings", settings={name: value})
        assert await shown(console) == {name: value}


async def shown(console: Console) -> dict[str, Any]:
    cores = (await console.get("/v1/cores")).json()["cores"]
    settings: dict[str, Any]
    (settings,) = (core["settings"] for core in cores if core["name"] == "settings")
    return settings
