"""`scripts/registry.sh` with a `docker` that records its arguments."""

from pathlib import Path

import pytest

from components.compute.task_definition import COLLECTOR_DIGEST
from tests import processes

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("exists", [True, False])
def test_collector_is_copied_once(tmp_path: Path, exists: bool) -> None:
    log = tmp_path / "log"
    processes.executable(
        tmp_path / "docker",
        f'#!/bin/sh\necho "$@" >> {log}\n[ "$3" != inspect ] || exit {0 if exists else 1}\n',
    )
    repository = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/gatehouse-staging-runtime"
    command = ["bash", "scripts/registry.sh", "collector", repository]
    path = f"{tmp_path}:/usr/bin:/bin"
    result = processes.run(command, cwd=ROOT, env={"PATH": path})
    assert result.returncode == 0, result.stderr
    copies = [line.split() for line in log.read_text().splitlines() if " create " in line]
    assert len(copies) == (not exists)
    for *options, source in copies:
        assert source.endswith(f"@{COLLECTOR_DIGEST}")
        assert "--prefer-index=false" in options
        assert options[-1] == f"{repository}:collector-{COLLECTOR_DIGEST.removeprefix('sha256:')}"
