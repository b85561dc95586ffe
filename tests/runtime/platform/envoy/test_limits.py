"""Bounds of the sockets and of the administration interface of Envoy."""

import asyncio
from pathlib import Path

import pytest
from gatehouse.core.errors import SettingsError
from gatehouse.platform.envoy import admin, process


def test_folder_whose_socket_paths_are_too_long_is_an_error() -> None:
    process.check_folder(Path("/tmp/gatehouse-12345678"))
    with pytest.raises(SettingsError, match="TMPDIR"):
        process.check_folder(Path("/tmp") / ("a" * 90) / "gatehouse-12345678")


async def test_interface_that_does_not_respond_delays_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    monkeypatch.setattr(admin, "TIMEOUT_S", 0.05)
    async with await asyncio.start_unix_server(wait, tmp_path / "admin.sock"):
        client = admin.Admin(tmp_path / "admin.sock")
        try:
            assert await client.metrics() == b""
        finally:
            await client.close()
