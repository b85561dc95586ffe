"""Lines and summary of an update."""

import pytest

from sandbox.engine.steps import Operation, Step
from sandbox.progress import Progress


def step(operation: Operation, name: str) -> Step:
    return Step(operation, "aws:s3/bucket:Bucket", name, f"urn:{name}")


def test_replacement_counts_once(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    steps: tuple[tuple[Operation, str], ...] = (
        ("replace", "logs"),
        ("create", "data"),
        ("delete", "logs"),
        ("delete", "old"),
    )
    for operation, name in steps:
        progress.change(step(operation, name))
    assert progress.summary() == "1 created, 1 replaced, 1 deleted"
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "+-",
        "+",
        "--",
        "-",
    ]
    assert progress.summary() == "no changes"
