"""The share service as a function gives the answers of the share service in a container, and needs no more than its own settings."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from gatehouse.errors import SettingsError
from gatehouse.settings import PREFIX, SharingSettings, load_sharing
from gatehouse.sharing import app as sharing
from mangum.types import LambdaContext

from tests.repository.test_contract import CONTRACT
from tests.runtime.functions.events import HOST, event

pytestmark = pytest.mark.requirement("SS-06")
CONTEXT: Any = LambdaContext
ENVIRON = {"GATEHOUSE_ENVIRONMENT": "staging", "GATEHOUSE_SHARING_URL": f"https://{HOST}"}
OWN = {"x-request-id", "content-length", "date", "server"}  # of one answer, or of the server in front


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module as Lambda imports it, told what the stack tells it."""
    for name in [name for name in os.environ if name.startswith("GATEHOUSE_")]:
        monkeypatch.delenv(name)
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    sys.modules.pop("gatehouse.sharing.lambda_handler", None)
    yield importlib.import_module("gatehouse.sharing.lambda_handler")
    sys.modules.pop("gatehouse.sharing.lambda_handler", None)


@pytest.mark.requirement("SS-13")
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("HEAD", "/"), ("POST", "/"), ("GET", "/style.css"), ("GET", "/healthz"), ("GET", "/s/x")]
)
async def test_the_function_answers_as_the_container_does(function: Any, method: str, path: str) -> None:
    container = httpx.ASGITransport(sharing.build(load_sharing(ENVIRON)))
    async with httpx.AsyncClient(transport=container, base_url=f"https://{HOST}") as client:
        wanted = await client.request(method, path)

    answer = await _call(function, event(method, path))

    assert (answer["statusCode"], answer["body"]) == (wanted.status_code, wanted.text)
    assert {k: v for k, v in answer["headers"].items() if k not in OWN} == {
        k: v for k, v in wanted.headers.items() if k not in OWN
    }
    assert answer["headers"]["strict-transport-security"].startswith("max-age=")


async def test_the_function_shows_no_metrics_to_the_world(function: Any) -> None:
    answer = await _call(function, event(path="/metrics"))
    assert (answer["statusCode"], "<h1>" in answer["body"]) == (404, True)


async def test_the_log_line_of_a_request_has_the_route_and_not_the_path(function: Any, capfdbinary: Any) -> None:
    await _call(function, event(path="/s/q8Zt4secret"))
    written = capfdbinary.readouterr().out
    assert b"q8Zt4secret" not in written


def test_a_function_that_is_told_of_the_database_does_not_start() -> None:
    with pytest.raises(SettingsError, match="GATEHOUSE_DATABASE_URL: unknown setting"):
        load_sharing({**ENVIRON, "GATEHOUSE_DATABASE_URL": "postgresql://app@db/gatehouse"})


def test_a_function_without_an_environment_names_the_variable() -> None:
    with pytest.raises(SettingsError, match="GATEHOUSE_ENVIRONMENT"):
        load_sharing({})


def test_the_settings_of_the_function_are_those_that_the_contract_gives_it() -> None:
    given = {row["name"] for row in CONTRACT["variable"] if "sharing" in row.get("functions", ())}
    assert given == {PREFIX + name.upper() for name in SharingSettings.model_fields}


async def _call(function: Any, sent: dict[str, Any]) -> dict[str, Any]:
    """In a thread, as the handler runs a loop of its own."""

    def work() -> dict[str, Any]:
        asyncio.set_event_loop(asyncio.new_event_loop())
        found: dict[str, Any] = function.handler(sent, CONTEXT)
        return found

    return await asyncio.to_thread(work)
