"""Environment of commands that use Node.js or npm."""

import os
from pathlib import Path

_INSTALLED = Path(__file__).resolve().parents[1] / ".gatehouse" / "tools" / "node" / "bin"


def environment() -> dict[str, str]:
    """The variables of this process. If scripts/build_web.sh installed Node.js, it is first on
    PATH, because the Node.js of the machine is too old or missing."""
    return {
        **os.environ,
        "PATH": os.pathsep.join((str(_INSTALLED), os.environ.get("PATH", os.defpath))),
    }
