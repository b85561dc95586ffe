"""A directory, and the agent's application."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote

import httpx
import pytest
from gatehouse.commands.agent import app as agent_app
from starlette.types import ASGIApp

SECRET = "core-secret"


@dataclass
class Agent:
    root: Path
    app: ASGIApp
    client: httpx.AsyncClient
    secrets: agent_app.GatewaySecrets

    @classmethod
    def of(cls, root: Path, secrets: agent_app.GatewaySecrets) -> Self:
        app = agent_app.create(root, secrets)
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://core.test",
            headers={"Authorization": f"Bearer {SECRET}"},
        )
        return cls(root, app, client, secrets)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        raw, _, query = path.encode("latin-1").partition(b"?")
        sent = {
            "authorization": f"Bearer {SECRET}",
            **{name.lower(): value for name, value in headers.items()},
        }
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": unquote(raw.decode("ascii"), errors="replace"),
            "raw_path": raw,
            "query_string": query,
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
            "client": ("127.0.0.1", 1),
            "server": ("core.test", 80),
        }
        messages: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: MutableMapping[str, Any]) -> None:
            messages.append(message)

        await self.app(scope, receive, send)
        body = b"".join(message.get("body", b"") for message in messages[1:])
        return httpx.Response(messages[0]["status"], headers=messages[0]["headers"], content=body)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    served = tmp_path / "served"
    (served / "Ordner mit Ümlaut" / "tief").mkdir(parents=True)
    (served / "Ordner mit Ümlaut" / "Grüße & 100%.txt").write_text("Grüße\n")
    (served / "Ordner mit Ümlaut" / "tief" / "x.bin").write_bytes(bytes(range(256)))
    (served / "%41.txt").write_text("percent")
    (served / "page.html").write_text("<script>alert(1)</script>")
    (served / ".env").write_text("PASSWORD=hidden")
    (served / ".git").mkdir()
    (served / ".git" / "config").write_text("hidden")
    (served / "empty").mkdir()
    (tmp_path / "outside.txt").write_text("outside")
    (tmp_path / "served-too").mkdir()
    (tmp_path / "served-too" / "near.txt").write_text("near")
    (served / "link-out").symlink_to(tmp_path / "outside.txt")
    (served / "link-up").symlink_to("..")
    (served / "link-in").symlink_to("page.html")
    (served / "link-directory").symlink_to(tmp_path / "served-too")
    (served / "link-loop").symlink_to("link-loop")
    os.mkfifo(served / "fifo")
    with contextlib.chdir(served), socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")  # the path of a socket has at most 103 bytes on macOS
    return served


@pytest.fixture
async def agent(root: Path) -> AsyncIterator[Agent]:
    secrets = agent_app.GatewaySecrets()
    secrets.accept(SECRET)
    agent = Agent.of(root, secrets)
    async with agent.client:
        yield agent
