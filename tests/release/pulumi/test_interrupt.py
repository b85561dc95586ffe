"""A signal ends the Pulumi CLI; `make` names the next command."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import processes
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
#: Takes the place of `.venv/bin/python` in `make`.
COMMAND = """#!{python}
import os, signal, sys
from pathlib import Path
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from release import __main__ as command
from release.pulumi import cli as pulumi_cli
from release.pulumi.stack import Stack
os.environ["PATH"] = "{folder}" + os.pathsep + os.environ["PATH"]
stack = Stack("dev", root=Path("{folder}"))
command._command = lambda options: pulumi_cli.run(stack, "up")
pulumi_cli.prepare_process()
sys.exit(command.main(sys.argv[3:]))
"""
NEXT = "deploy: interrupted. To continue, run: make deploy ENV=dev"


def start(folder: Path) -> subprocess.Popen[str]:
    for name, text in (("pulumi", CLI), ("python", COMMAND)):
        processes.executable(folder / name, text.format(python=sys.executable, folder=folder))
    os.mkfifo(folder / "go")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        ["make", f"PY={folder / 'python'}", "deploy", "ENV=dev"],
        cwd=ROOT,
        env=environment,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        # A shell without job control lets its background processes, such as a test run, ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.parametrize(
    ("signals", "group"),
    [
        ([signal.SIGTERM], False),
        ([signal.SIGINT, signal.SIGTERM], True),  # a cancelled job of GitHub Actions
        ([signal.SIGINT, signal.SIGINT], True),
        ([signal.SIGHUP], True),  # the terminal was closed
    ],
)
def test_cli_receives_one_signal(
    tmp_path: Path, signals: Sequence[signal.Signals], group: bool
) -> None:
    process = start(tmp_path)
    assert process.stdout is not None
    assert "started\n" in process.stdout  # perhaps after lines of scripts/setup.sh
    first, *others = signals
    os.killpg(process.pid, first) if group else process.send_signal(first)
    assert process.stdout.readline() == "cancelled\n"
    for number in others:
        os.killpg(process.pid, number) if group else process.send_signal(number)
    (tmp_path / "go").write_text("")
    assert process.stdout.read().splitlines()[:2] == ["state saved", NEXT]
    process.wait()
