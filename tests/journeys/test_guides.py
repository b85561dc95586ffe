"""The commands of the README and the guides have the output of the pages."""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sandbox.ports import free_port
from tests import requires
from tests.journeys.conftest import UP_OUTPUT, Running
from tests.journeys.guide_reader import GuideReader

ROOT = Path(__file__).resolve().parents[2]
GUIDES = ROOT / "docs" / "guides"
#: Seconds between the commands. A person who types takes longer than the tests.
PAUSE_S = float(os.environ.get("GATEHOUSE_GUIDE_PAUSE_S", "0"))

pytestmark = requires.program("curl")


@pytest.fixture
def reader(running: Running, tmp_path: Path) -> Iterator[GuideReader]:
    for name, target in {
        ".gatehouse": running.home,
        **{name: ROOT / name for name in (".venv", "clients", "docs", "examples", "runtime")},
    }.items():
        (tmp_path / name).symlink_to(target)
    replacements = {
        "make up": f"cat .gatehouse/{UP_OUTPUT}",
        "127.0.0.1:8080": running.gateway.removeprefix("http://"),
        ".localhost:8080": f".localhost:{urlsplit(running.gateway).port}",
        "http://127.0.0.1:8081": running.console,
        "http://127.0.0.1:8082": running.sharing,
        "http://127.0.0.1:5555": running.emulator,
        "gtk_admin_7Yt0...": running.admin_token,
        "127.0.0.1:8090": f"127.0.0.1:{free_port()}",
        "127.0.0.1:9000": f"127.0.0.1:{free_port()}",
    }
    replacements["--port 9000"] = f"--port {replacements['127.0.0.1:9000'].rpartition(':')[2]}"
    reader = GuideReader(tmp_path, {"LANG": "C.UTF-8"}, replacements, PAUSE_S)
    yield reader
    reader.close()


def test_quick_start(reader: GuideReader) -> None:
    assert reader.run((ROOT / "README.md").read_text()) > 9


@pytest.mark.parametrize(
    ("name", "commands"),
    [
        ("verify-keys", 10),
        ("reverse-proxies", 6),
        ("cores", 15),
        ("manage-keys", 4),
        ("sell-an-api", 20),
        ("protect-a-service", 9),
        ("operate", 40),
        ("secure", 15),
        ("sessions", 3),
        ("sharing", 20),
        ("signatures", 7),
        ("leaks", 6),
        pytest.param("keys-as-code", 14, marks=requires.PULUMI),
    ],
)
def test_guide(reader: GuideReader, name: str, commands: int) -> None:
    assert reader.run((GUIDES / f"{name}.md").read_text()) >= commands
