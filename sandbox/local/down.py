"""`python -m sandbox down`: stops a running `up`, or cleans up after one that crashed. Idempotent."""

import signal
from pathlib import Path

from sandbox.local.run_state import RunStateFile
from sandbox.paths import HOME

_STOP_S = 40.0


def down(home: Path = HOME) -> str:
    """Stop Gatehouse. Returns one line that says what was done."""
    file = RunStateFile(home)
    running = file.running()
    if running is not None:
        running.owner.end(signal.SIGTERM, _STOP_S)
        # An orderly end removes the file; after a kill, the child processes are still in it.
        file.clean_up()
        return f"Gatehouse (stack {running.stack}) is stopped."
    if file.read() is None:
        file.clear()
        return "Gatehouse is not running."
    stopped = file.clean_up()
    return f"Cleaned up after a crash{': stopped ' + ', '.join(stopped) if stopped else ''}."
