"""A Lambda handler runs in a separate process, and errors show no values."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.local.functions.api_gateway import invoker
from tests import processes

HANDLER = """
import json, pathlib
def handler(event, context):
    if event["Step"] == "setSecret":
        value = "canary-value"
        raise RuntimeError("cannot set")
    with pathlib.Path(event["SecretId"]).open("a") as out:
        out.write(event["Step"] + "\\n")
"""


def handle(folder: Path, *steps: str) -> "subprocess.CompletedProcess[str]":
    (folder / "rotate.py").write_text(HANDLER)
    events = [
        {"Step": step, "SecretId": str(folder / "steps"), "ClientRequestToken": "t"}
        for step in steps
    ]
    command = [
        sys.executable,
        "-m",
        "sandbox.local.functions.lambda_handler_process",
        str(folder),
        "rotate.handler",
        json.dumps(events),
    ]
    return processes.run(command)


def test_events_reach_the_handler_in_order(tmp_path: Path) -> None:
    assert handle(tmp_path, "createSecret", "testSecret", "finishSecret").returncode == 0
    assert (tmp_path / "steps").read_text() == "createSecret\ntestSecret\nfinishSecret\n"


def test_error_of_the_handler_fails_one_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "echo_function.py").write_text(
        "def handler(event, _):\n    return {'body': event['body'].encode().decode('ascii')}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    invoke = invoker("echo_function.handler")
    results = [invoke({"body": body}) for body in ("a", "\u00e4", "b")]
    assert results == [{"body": "a"}, None, {"body": "b"}]
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("echo_function.handler: UnicodeDecodeError")
