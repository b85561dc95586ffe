"""docs/guides/sign.sh with a running gateway."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.gateway.test_signatures import TEXT, docs, signing_key

SCRIPT = Path(__file__).parents[3] / "docs" / "guides" / "sign.sh"
__all__ = ["docs"]


async def run(*arguments: str, token: str, secret: str = TEXT) -> tuple[int, str]:
    environment = {**os.environ, "GATEHOUSE_KEY": token, "GATEHOUSE_SIGNING_SECRET": secret}
    child = await asyncio.create_subprocess_exec(
        SCRIPT, *arguments, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    written, _ = await child.communicate()
    return child.returncode or 0, written.decode()


@pytest.mark.requirement("TR-10", "TR-16")
@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("openssl")), reason="the script needs curl and openssl")
async def test_signing_script_of_guide_works(gateway: Any, docs: Any) -> None:
    key = await signing_key(gateway)
    place = f"http://127.0.0.1:{gateway.port}/cores/docs"
    assert await run("GET", f"{place}/status/200?x=%20y", token=key.token) == (0, "core says 200")
    assert (await run("POST", f"{place}/a", "a 'body' with \"quotes\"", token=key.token))[0] == 0
    assert docs.last[2] == b"a 'body' with \"quotes\""
    code, denied = await run("GET", f"{place}/a", token=key.token, secret="sigkey_" + "A" * 44)
    assert code != 0
    assert "signature_wrong" in denied
