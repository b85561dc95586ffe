"""Imports without garbage collection."""

import atexit
import contextlib
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Disables garbage collection during imports, and excludes the imported objects from later
    collections. In measurements, commands and services took a fifth less CPU time.
    """
    # The command of httpx is optional (`httpx[cli]`), and a quarter of the imports of our commands.
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
    atexit.register(gc.freeze)
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
