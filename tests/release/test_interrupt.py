"""SIGINT and SIGTERM during a command of the Pulumi CLI: the CLI ends by itself, and the command
names the next one.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.release.fake_aws import ROOT

CLI = """#!{python} -IS
import os, signal, sys
received = []
cancelled, wake = os.pipe()
def cancel(number, frame):
    received.append(number)
    if len(received) == 2:
        sys.exit("terminated")
    os.write(wake, b"1")
signal.signal(signal.SIGINT, cancel)
signal.signal(signal.SIGTERM, cancel)
print("started", flush=True)
os.read(cancelled, 1)
print("cancelled", flush=True)
open("go").read()  # until the test has sent its other signals
print("state saved", flush=True)
sys.exit(255)
"""
COMMAND = """
import signal, sys
from pathlib import Path
from release import __main__ as command, pulumi_cli
command._command = lambda options: pulumi_cli.run(["./pulumi"], Path())
signal.signal(signal.SIGTERM, signal.default_int_handler)
sys.exit(command.main(["deploy", "--env", "dev"]))
"""
NEXT = "deploy: interrupted. To continue, run: make deploy ENV=dev"


def start(folder: Path) -> subprocess.Popen[str]:
    """A command that runs a CLI which waits for a signal, in a session of its own."""
    cli = folder / "pulumi"
    cli.write_text(CLI.format(python=sys.executable))
    cli.chmod(0o755)
    os.mkfifo(folder / "go")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND],
        cwd=folder,
        env=environment,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


@pytest.mark.parametrize(
    ("signals", "group"),
    [
        ([signal.SIGINT], False),
        ([signal.SIGTERM], False),
        ([signal.SIGINT, signal.SIGTERM], False),  # a cancelled job of GitHub Actions
        ([signal.SIGINT, signal.SIGINT], True),
    ],
)
def test_first_signal_is_forwarded_once(
    tmp_path: Path, signals: Sequence[signal.Signals], group: bool
) -> None:
    process = start(tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    first, *others = signals
    os.killpg(process.pid, first) if group else process.send_signal(first)
    assert process.stdout.readline() == "cancelled\n"
    for number in others:
        os.killpg(process.pid, number) if group else process.send_signal(number)
    (tmp_path / "go").write_text("")
    assert process.stdout.read() == f"state saved\n{NEXT}\n"
    assert process.wait() == 130
