"""The commands of the drivers, one for the clients of each language."""

import atexit
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from tests import processes
from tools import nodejs

ROOT = Path(__file__).parents[3]
FOLDER = Path(__file__).parent


def _folder() -> Path:
    """A folder that the process deletes when it ends."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _python(kind: str) -> list[str]:
    return [sys.executable, str(FOLDER / "python_client.py"), kind]


def _typescript() -> list[str]:
    """With the compiler of the web UI, so that `make test` needs no other packages."""
    folder, source = _folder(), ROOT / "clients/typescript"
    options = {"outDir": str(folder), "rootDir": f"{source}/src", "types": [], "noCheck": True}
    settings = {"extends": f"{source}/tsconfig.json", "compilerOptions": options}
    (folder / "tsconfig.json").write_text(json.dumps({**settings, "include": [f"{source}/src"]}))
    (folder / "package.json").write_text('{"type": "module"}')
    compiler = ROOT / "runtime/web/node_modules/.bin/tsc"
    processes.run((compiler, "-p", folder), check=True, env=nodejs.environment())
    shutil.copy(FOLDER / "typescript_client.js", folder)
    return ["node", str(folder / "typescript_client.js")]


@cache
def go_driver() -> Path:
    program = _folder() / "driver"
    build = ("go", "build", "-o", program)
    processes.run(build, cwd=FOLDER / "go", check=True, timeout=None)
    return program


COMMANDS: dict[str, Callable[[], list[str]]] = {
    "python": lambda: _python("sync"),
    "python-async": lambda: _python("async"),
    "typescript": _typescript,
    "go": lambda: [str(go_driver())],
}
