"""ngrok tunnel of the agent, without a network."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from gatehouse.commands.agent import tunnel
from gatehouse.commands.agent.tunnel import NgrokTunnel
from gatehouse.core.errors import SettingsError, Unavailable
from gatehouse.core.http.origin import BaseUrl, parse_base_url

from tests import processes

AUTHTOKEN = "2abcDEFghiJKLmnoPQRstuVWXyz_0123456789ABCDEFGHIJK"


async def open_tunnel() -> None:
    async with NgrokTunnel(AUTHTOKEN).open("http://127.0.0.1:9"):
        pass


async def test_error_of_the_sdk_says_what_to_check() -> None:
    with pytest.raises(
        Unavailable, match=r"Check that NGROK_AUTHTOKEN is valid.* connect\.ngrok-agent\.com:443"
    ) as error:
        await open_tunnel()
    assert AUTHTOKEN not in error.value.public


async def test_missing_sdk_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ngrok", None)
    with pytest.raises(SettingsError, match="--ngrok requires the package ngrok"):
        await open_tunnel()


def test_representation_contains_no_authtoken() -> None:
    assert AUTHTOKEN not in repr(NgrokTunnel(AUTHTOKEN, "docs.ngrok.app"))


@dataclass
class Sdk:
    urls: list[str]
    error: Exception | None = None
    calls: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    closed: bool = False

    async def forward(self, address: str, **options: str) -> "Sdk":
        self.calls.append((address, options))
        if self.error is not None:
            raise self.error
        return self

    def url(self) -> str:
        return self.urls.pop(0)

    async def close(self) -> None:
        self.closed = True


async def test_tunnel_yields_the_current_url_and_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    sdk = Sdk(["https://a1.ngrok-free.app", "https://b2.ngrok-free.app"])
    monkeypatch.setitem(sys.modules, "ngrok", sdk)
    async with NgrokTunnel(AUTHTOKEN, "docs.ngrok.app").open("http://127.0.0.1:9") as url:
        urls = [parse_base_url(url()), parse_base_url(url())]  # the form that the gateway accepts
        assert not sdk.closed
    assert urls == [
        BaseUrl("https", "a1.ngrok-free.app", 443),
        BaseUrl("https", "b2.ngrok-free.app", 443),
    ]
    assert sdk.calls == [
        ("http://127.0.0.1:9", {"authtoken": AUTHTOKEN, "domain": "docs.ngrok.app"})
    ]
    assert sdk.closed


async def test_authtoken_in_a_message_of_ngrok_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    error = ValueError(
        "failed to auth session",
        f"authentication failed\nYour authtoken: {AUTHTOKEN}",
        "ERR_NGROK_105",
    )
    monkeypatch.setitem(sys.modules, "ngrok", Sdk([], error))
    with pytest.raises(Unavailable, match=r"Your authtoken: .*ERR_NGROK_105") as raised:
        await open_tunnel()
    assert AUTHTOKEN not in raised.value.public


def run(root: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    arguments = [
        "core",
        "--dir",
        str(root),
        "--gateway",
        "http://127.0.0.1:1",
        "--name",
        "docs",
        "--ngrok",
        *options,
    ]
    inherited: dict[str, Any] = {
        name: value for name, value in os.environ.items() if name != tunnel.AUTHTOKEN_VARIABLE
    }
    return processes.run(
        [sys.executable, "-c", "from gatehouse.commands.cli import main; main()", *arguments],
        env={**inherited, "GATEHOUSE_CORE_TOKEN": "t0ken", **environment},
    )


@pytest.mark.parametrize(
    ("options", "environment", "status", "message"),
    [
        ((), {}, 2, "--ngrok requires the environment variable NGROK_AUTHTOKEN"),
        (
            ("--url", "https://docs.example.com"),
            {"NGROK_AUTHTOKEN": AUTHTOKEN},
            2,
            "--ngrok, --url and --url-file are mutually",
        ),
        ((), {"NGROK_AUTHTOKEN": AUTHTOKEN}, 1, "ngrok did not open a tunnel"),
    ],
)
def test_agent_without_a_tunnel_stops(
    root: Path, options: tuple[str, ...], environment: dict[str, str], status: int, message: str
) -> None:
    result = run(root, *options, **environment)
    assert (result.returncode, message in result.stderr) == (status, True), result.stderr
    assert AUTHTOKEN not in result.stdout + result.stderr
