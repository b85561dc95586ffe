"""The guides, followed to the letter on a running gateway: their commands are run in order, their answers compared."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.local import servers
from sandbox.local.ports import free_port
from tests.journeys.conftest import Running
from tests.journeys.page import Reader
from tests.journeys.test_recovery import PEPPER, TOKEN, doors, environment, migrate

ROOT = Path(__file__).resolve().parents[2]
GUIDES = ROOT / "docs" / "guides"

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the guides use curl")


@pytest.fixture
def reader(running: Running, tmp_path: Path) -> Iterator[Reader]:
    """Somebody with a shell and this running gateway. The pages name the addresses and the token of a first `make up`."""
    places = {
        "http://127.0.0.1:8080": running.gateway,
        "http://127.0.0.1:8081": running.console,
        "gtk_admin_7Yt0...": running.admin_token,
        "127.0.0.1:8090": f"127.0.0.1:{free_port()}",
        "127.0.0.1:9000": f"127.0.0.1:{free_port()}",
        "$PWD/.venv/bin": str(ROOT / ".venv" / "bin"),
        ".gatehouse/logs": str(running.home / "logs"),
    }
    somebody = Reader(tmp_path, {"LANG": "C.UTF-8"}, places)
    yield somebody
    somebody.close()


@pytest.mark.requirement("TR-16", "TR-07", "TR-09", "CG-03", "CG-04")
def test_the_integration_guide_works_as_written(reader: Reader) -> None:
    assert reader.follow((GUIDES / "integrate.md").read_text(encoding="utf-8")) > 25


@pytest.mark.requirement("TR-16", "TR-18", "CG-23")
def test_the_operations_guide_works_as_written(reader: Reader) -> None:
    assert reader.follow((GUIDES / "operate.md").read_text(encoding="utf-8")) > 30


@pytest.mark.requirement("TR-16", "SS-14")
def test_the_security_guide_works_as_written(reader: Reader) -> None:
    assert reader.follow((GUIDES / "secure.md").read_text(encoding="utf-8")) > 12


@pytest.mark.requirement("TR-16")
def test_the_guide_to_moving_works_as_written(tmp_path: Path) -> None:
    with servers.postgres(tmp_path / "postgres.log") as server:
        migrate(server, tmp_path / "migrate.log")
        with doors(server, tmp_path / "logs") as house:
            there = {"GATEWAY": house.gateway, "GATEHOUSE_CONSOLE_URL": house.console, "GATEHOUSE_ADMIN_TOKEN": TOKEN}
            (tmp_path / "desk").mkdir()
            somebody = Reader(tmp_path / "desk", {**environment(server.app_url, GATEHOUSE_PEPPER=PEPPER), **there}, {})
            assert somebody.follow((GUIDES / "migrate.md").read_text(encoding="utf-8")) > 9
