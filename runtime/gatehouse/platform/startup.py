"""Start of a process: imports without garbage collection, and open files."""

import atexit
import contextlib
import gc
import resource
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


def allow_files() -> int:
    """Allows the process as many open files as the system permits, and returns their number. By
    default, systemd, containerd and shells allow 1,024, as many as a client has connections.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS has no hard limit, and accepts 10,240 (OPEN_MAX in sys/syslimits.h).
    number = 10_240 if hard == resource.RLIM_INFINITY else hard
    with contextlib.suppress(OSError, ValueError):  # a system can have a lower maximum
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
