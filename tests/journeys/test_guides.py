"""The commands of the guides run in order with the output that the guides show."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.local import servers
from sandbox.ports import free_port
from tests.journeys.conftest import Running
from tests.journeys.guide_reader import GuideReader
from tests.journeys.local_services import TOKEN, environment, generations, migrate, running_services

ROOT = Path(__file__).resolve().parents[2]
GUIDES = ROOT / "docs" / "guides"

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the guides use curl")


@pytest.fixture
def reader(running: Running, tmp_path: Path) -> Iterator[GuideReader]:
    """A shell with the running services. The guides show the addresses and the token of `make up`."""
    replacements = {
        "http://127.0.0.1:8080": running.gateway,
        "http://127.0.0.1:8081": running.console,
        "gtk_admin_7Yt0...": running.admin_token,
        "127.0.0.1:8090": f"127.0.0.1:{free_port()}",
        "127.0.0.1:9000": f"127.0.0.1:{free_port()}",
        "$PWD/.venv/bin": str(ROOT / ".venv" / "bin"),
        ".gatehouse/logs": str(running.home / "logs"),
    }
    reader = GuideReader(tmp_path, {"LANG": "C.UTF-8"}, replacements)
    yield reader
    reader.close()


@pytest.mark.requirement("TR-16", "TR-07", "TR-09", "CG-03", "CG-04")
def test_integration_guide(reader: GuideReader) -> None:
    assert reader.run((GUIDES / "integrate.md").read_text(encoding="utf-8")) > 25


@pytest.mark.requirement("TR-16", "TR-18", "CG-23")
def test_operations_guide(reader: GuideReader) -> None:
    assert reader.run((GUIDES / "operate.md").read_text(encoding="utf-8")) > 30


@pytest.mark.requirement("TR-16", "SS-14")
def test_security_guide(reader: GuideReader) -> None:
    assert reader.run((GUIDES / "secure.md").read_text(encoding="utf-8")) > 12


@pytest.mark.requirement("TR-16")
def test_migration_guide(tmp_path: Path) -> None:
    with servers.postgres(tmp_path / "postgres.log") as server:
        migrate(server, tmp_path / "migrate.log")
        pepper = generations()
        with running_services(server, pepper, tmp_path / "logs") as running:
            urls = {"GATEWAY": running.gateway, "GATEHOUSE_CONSOLE_URL": running.console, "GATEHOUSE_ADMIN_TOKEN": TOKEN}
            (tmp_path / "folder").mkdir()
            environ = {**environment(server.app_url, GATEHOUSE_PEPPER=pepper), **urls}
            reader = GuideReader(tmp_path / "folder", environ, {})
            assert reader.run((GUIDES / "migrate.md").read_text(encoding="utf-8")) > 9
