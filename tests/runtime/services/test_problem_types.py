"""The `type` of problem documents: a section of the site of the deployment."""

from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from gatehouse.core.errors import SettingsError
from gatehouse.platform.envoy.bootstrap import Service, document
from gatehouse.platform.settings import SharingSettings, load, load_sharing
from gatehouse.platform.web.problems import problem_type
from gatehouse.services.sharing import app as sharing

from sandbox.ports import free_port
from tests.runtime.commands.cli.conftest import running_services
from tests.runtime.conftest import Database
from tests.runtime.platform.test_settings import BASE
from tests.runtime.platform.web.test_problems import mappers

SITE = "https://docs.example.com/gatehouse"
SERVICES = ("gateway", "console", "sharing")
_ABOVE_THE_LIMIT = {f"x-{number}": "x" * 8000 for number in range(9)}


def section(code: str) -> str:
    return f"{SITE}/docs/errors.html#{code.lower()}"


def assert_type(reply: httpx.Response, status: int) -> None:
    problem = reply.json()
    assert (reply.status_code, problem["type"]) == (status, section(problem["code"]))


def test_each_service_links_to_the_site(database: Database, tmp_path: Path) -> None:
    ports = {name: str(free_port()) for name in SERVICES}
    variables = {f"GATEHOUSE_{name.upper()}_PORT": port for name, port in ports.items()}
    with running_services(database, tmp_path, *SERVICES, **variables, GATEHOUSE_DOCS_URL=SITE):
        for port in ports.values():
            url = f"http://127.0.0.1:{port}/v1/nothing"
            assert_type(httpx.get(url, timeout=60), 404)
            # Envoy responds itself.
            assert_type(httpx.get(url, headers=_ABOVE_THE_LIMIT, timeout=60), 431)
        gateway = f"http://127.0.0.1:{ports['gateway']}/cores/docs/files"
        assert_type(httpx.get(gateway, timeout=60), 401)


async def test_sharing_function_links_to_the_site() -> None:
    variables = {"GATEHOUSE_ENVIRONMENT": "dev", "GATEHOUSE_DOCS_URL": SITE}
    transport = httpx.ASGITransport(sharing.build(load_sharing(variables)))
    async with httpx.AsyncClient(transport=transport, base_url="https://example.com") as client:
        assert_type(await client.get("/v1/nothing"), 404)


@pytest.mark.parametrize(("url", "prefix"), [(SITE, section("")), ("", "urn:gatehouse:problem:")])
def test_problems_of_envoy_have_the_type(tmp_path: Path, url: str, prefix: str) -> None:
    services = [Service(name, number) for number, name in enumerate(SERVICES, 1)]
    settings = load({**BASE, "GATEHOUSE_DOCS_URL": url})
    formats = [
        reply["body_format_override"]["json_format"]
        for reply in mappers(yaml.safe_load(document(tmp_path, services, settings)))
    ]
    types: list[Any] = [members["type"] for members in formats if "type" in members]
    assert len(types) > 20
    assert {each.removeprefix(prefix).isidentifier() for each in types} == {True}


@pytest.mark.parametrize(
    "url",
    [
        *("http://docs.example.com", "https://docs.example.com/", "docs.example.com", "https://"),
        *("https://user@docs.example.com", "https://docs.example.com/a?b", "https://x/#a"),
        *("https://docs.example.com/%20", "https://docs.example.com/ a", f"https://{'x' * 200}"),
    ],
)
def test_invalid_url_is_rejected(url: str) -> None:
    with pytest.raises(SettingsError, match="GATEHOUSE_DOCS_URL: must be an https:// URL"):
        load({**BASE, "GATEHOUSE_DOCS_URL": url})


def test_type_without_a_site_is_a_urn() -> None:
    assert SharingSettings.model_fields["docs_url"].default == ""
    assert problem_type("RATE_LIMITED", "") == "urn:gatehouse:problem:rate_limited"
