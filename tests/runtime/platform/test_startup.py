"""Imports without garbage collection and the command of httpx."""

import subprocess
import sys

_PROGRAM = """
import gc
import sys
from gatehouse.platform.startup import no_collection

collections = []
gc.callbacks.append(lambda phase, info: collections.append(phase))
gc.collect()
assert collections
collections.clear()
try:
    with no_collection():
        kept = [[] for _ in range(100_000)]
        raise ImportError
except ImportError:
    pass
assert not collections
assert gc.isenabled() and gc.get_freeze_count() > len(kept)
import httpx
assert "rich" not in sys.modules
"""


def test_objects_of_imports_are_excluded_from_collections() -> None:
    subprocess.run([sys.executable, "-c", _PROGRAM], check=True)
