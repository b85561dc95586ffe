"""`python -m sandbox down`: stops a running `up`, or sweeps up after one that crashed. Doing it twice does no harm."""

import signal
from pathlib import Path

from sandbox.local.run_state import Journal
from sandbox.paths import HOME

_END_S = 40.0


def down(home: Path = HOME) -> str:
    """Stop what runs; return one line about what was done."""
    journal = Journal(home)
    state = journal.running()
    if state is not None:
        state.owner.end(signal.SIGTERM, _END_S)
        # A run that ended in order has removed its journal; after a kill, its children are still in it.
        journal.sweep()
        return f"Gatehouse ({state.stack}) is down."
    if journal.read() is None:
        journal.clear()
        return "Nothing is running."
    swept = journal.sweep()
    return f"Gatehouse had crashed; removed what it left behind{': ' + ', '.join(swept) if swept else ''}."
