"""A Lambda handler runs as it would on AWS: alone, event after event, and without telling what it holds."""

import json
import subprocess
import sys
from pathlib import Path

HANDLER = """
import json, pathlib
def handler(event, context):
    if event["Step"] == "setSecret":
        held = "canary-value"
        raise RuntimeError("cannot set")
    with pathlib.Path(event["SecretId"]).open("a") as out:
        out.write(event["Step"] + "\\n")
"""


def handle(folder: Path, *steps: str) -> "subprocess.CompletedProcess[str]":
    (folder / "rotate.py").write_text(HANDLER)
    events = [{"Step": step, "SecretId": str(folder / "said"), "ClientRequestToken": "t"} for step in steps]
    command = [sys.executable, "-m", "sandbox.local.lambda_host", str(folder), "rotate.handler", json.dumps(events)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_events_reach_the_handler_in_order(tmp_path: Path) -> None:
    assert handle(tmp_path, "createSecret", "testSecret", "finishSecret").returncode == 0
    assert (tmp_path / "said").read_text() == "createSecret\ntestSecret\nfinishSecret\n"


def test_the_first_error_ends_the_run_in_one_line_without_a_traceback(tmp_path: Path) -> None:
    done = handle(tmp_path, "createSecret", "setSecret", "finishSecret")
    said = tmp_path / "said"
    assert (done.returncode, said.read_text()) == (1, "createSecret\n")
    assert done.stderr == f"rotate.handler: setSecret of {said}: RuntimeError('cannot set')\n"
