"""Settings and runtime/contract.toml declare the same."""

from collections.abc import Callable
from pathlib import Path

import pytest
from gatehouse.core.errors import SettingsError
from gatehouse.platform.settings import PREFIX, Settings, load
from gatehouse.services.sharing.app import FUNCTION_S

from components import contract
from components.compute import environment, task_definition
from components.edge import load_balancer
from components.settings.loader import SettingsError as StackFileError
from components.settings.loader import parse
from components.settings.workloads import SHARING_TIMEOUT_S
from tests.components.settings.stack_settings import raw_settings

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = contract.document()
AWS_VARIABLES = {"AWS_REGION"}


def _names(section: str) -> set[str]:
    return {row["name"] for row in CONTRACT[section]} - AWS_VARIABLES


ENVIRON = {"GATEHOUSE_ENVIRONMENT": "dev", "GATEHOUSE_DATABASE_URL": "postgresql://x@y/z"}


def test_contract_declares_every_runtime_setting() -> None:
    settings = {PREFIX + name.upper() for name in Settings.model_fields}
    assert settings == _names("variable") | _names("secret") | _names("optional")


def test_every_optional_variable_is_read() -> None:
    files = (ROOT / "runtime" / "gatehouse").rglob("*")
    sources = "".join(file.read_text() for file in files if file.suffix in {".py", ".j2"})
    fields = {name: name.removeprefix(PREFIX).lower() for name in _names("optional")}
    assert [
        name
        for name, field in fields.items()
        if f".{field}" not in sources and not field.endswith("_port")
    ] == []


def test_services_have_their_own_ports() -> None:
    ports = [service["port"] for service in CONTRACT["service"].values()]
    assert len(set(ports)) == len(ports)
    for name, service in CONTRACT["service"].items():
        assert Settings.model_fields[f"{name}_port"].default == service["port"]


def test_runtime_has_the_idle_timeout_of_the_load_balancer() -> None:
    idle_timeout_s = Settings.model_fields["load_balancer_idle_timeout_s"].default
    assert idle_timeout_s == load_balancer.IDLE_TIMEOUT_S


def test_task_has_time_to_complete_its_requests() -> None:
    # The maximum of Fargate.
    assert environment.DRAIN_S + environment.REQUESTS_S < task_definition.STOP_TIMEOUT_S <= 120
    assert load_balancer.DEREGISTRATION_DELAY_S >= environment.DRAIN_S + environment.REQUESTS_S
    assert FUNCTION_S < SHARING_TIMEOUT_S  # of the Lambda function


@pytest.mark.parametrize(
    ("prefix", "accepted"),
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
def test_stack_file_and_runtime_accept_the_same_key_prefixes(prefix: str, accepted: bool) -> None:
    values = raw_settings("dev", {"key_prefix": prefix})
    assert _accepts(lambda: parse(values, "dev")) is accepted
    assert _accepts(lambda: load({**ENVIRON, "GATEHOUSE_KEY_PREFIX": prefix})) is accepted


def _accepts(load_settings: Callable[[], object]) -> bool:
    try:
        load_settings()
    except (StackFileError, SettingsError):
        return False
    return True
