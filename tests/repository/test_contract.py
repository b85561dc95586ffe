"""runtime/contract.toml is the one seam: the runtime's settings are exactly its variables and secrets."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from gatehouse.errors import SettingsError
from gatehouse.settings import PREFIX, Settings, load

from components.settings.model import SettingsError as StackFileError
from components.settings.model import parse
from tests.components.program import stack_file
from tools.docs.runtime_settings import readers
from tools.docs.stack_settings import leaves

CONTRACT = tomllib.loads((Path(__file__).resolve().parents[2] / "runtime" / "contract.toml").read_text())
FOREIGN = {"AWS_REGION"}


def _names(section: str) -> set[str]:
    return {row["name"] for row in CONTRACT[section]} - FOREIGN


def test_every_setting_of_the_runtime_stands_in_the_contract() -> None:
    settings = {PREFIX + name.upper() for name in Settings.model_fields}
    assert settings == _names("variable") | _names("secret") | _names("optional")


def test_only_processes_of_the_contract_receive_variables_and_secrets() -> None:
    for section in ("variable", "secret"):
        for row in CONTRACT[section]:
            assert set(row["processes"]) <= set(CONTRACT["process"]), row["name"]


def test_an_optional_variable_is_offered_to_the_processes_that_read_it() -> None:
    offered = {row["name"]: sorted(row["processes"]) for row in CONTRACT["optional"]}
    assert offered == {name: sorted(readers(name)) for name in offered}


def test_the_key_that_sets_an_optional_variable_is_one_of_the_stack_file() -> None:
    keys = {f"{path}{name}" for path, name, _, _ in leaves()} | {"image"}
    assert {row["setting"] for row in CONTRACT["optional"] if "setting" in row} <= keys


def test_each_service_has_its_own_port() -> None:
    ports = [service["port"] for service in CONTRACT["service"].values()]
    assert len(set(ports)) == len(ports)
    for name, service in CONTRACT["service"].items():
        assert Settings.model_fields[f"{name}_port"].default == service["port"]


@pytest.mark.requirement("TR-04")
@pytest.mark.parametrize(
    ("prefix", "allowed"),
    [
        ("gtk", True),
        ("acme_sk", True),
        ("a", True),
        ("sixteen_letters1", True),
        ("seventeen_letters", False),
        ("sk_live", False),
        ("ghp", False),
        ("xoxb", False),
        ("Acme", False),
        ("acme__sk", False),
        ("acme_", False),
        ("1st", False),
    ],
)
def test_a_stack_file_and_the_runtime_agree_on_what_a_key_prefix_is(prefix: str, allowed: bool) -> None:
    values = {**stack_file("dev")["gatehouse:settings"], "key_prefix": prefix}
    environ = {"GATEHOUSE_ENVIRONMENT": "dev", "GATEHOUSE_DATABASE_URL": "postgresql://x@y/z", "GATEHOUSE_KEY_PREFIX": prefix}
    assert _accepts(lambda: parse(values, "dev")) is allowed
    assert _accepts(lambda: load(environ)) is allowed


def _accepts(check: Callable[[], object]) -> bool:
    try:
        check()
    except (StackFileError, SettingsError):
        return False
    return True
