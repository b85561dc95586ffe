"""`make references`: Prometheus accepts the metrics."""

import subprocess

import pytest

from tests import requires
from tests.runtime.console_client import Console
from tests.runtime.features.secrets.services import Sharing


@pytest.mark.slow
@requires.program("promtool")
async def test_promtool(console: Console, sharing: Sharing) -> None:
    await console.create()
    async with sharing.client() as client:
        await client.get("/unknown")
        pages = [(await service.get("/metrics")).text for service in (console.client, client)]
    for page in pages:
        command = ("promtool", "check", "metrics")
        result = subprocess.run(command, input=page, capture_output=True, text=True, check=False)
        assert (result.returncode, result.stdout + result.stderr) == (0, "")
