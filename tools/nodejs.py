"""Environment of commands that use Node.js or npm, and installation of npm packages."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_INSTALLED = ROOT / ".gatehouse" / "tools" / "node" / "bin"
_OPTIONS = (
    *("--ignore-scripts", "--fetch-retries=1"),
    *("--fetch-retry-mintimeout=1000", "--fetch-timeout=30000"),
)


class InstallationError(Exception):
    """A package cannot be installed. The message contains the path of the log."""


def environment() -> dict[str, str]:
    """The variables of this process. If scripts/build_web.sh installed Node.js, it is first on
    PATH, because the Node.js of the machine is too old or missing."""
    return {
        **os.environ,
        "PATH": os.pathsep.join((str(_INSTALLED), os.environ.get("PATH", os.defpath))),
    }


def install(locked: Path, folder: Path, unpack: Callable[[Path], None]) -> None:
    """Installs the packages that `locked` names with their versions and hashes, if `folder` does
    not contain them. `unpack` takes what is needed from `folder`/node_modules, which is then
    deleted. Raises InstallationError.
    """
    version = (locked / "package-lock.json").read_text()
    stamp = folder / "installed.json"
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Several test processes install at the same time.
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.is_file() and stamp.read_text() == version:
            return
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(locked, folder)
        run(folder, "npm", "ci", *_OPTIONS, "--cache", str(folder / "cache"))
        unpack(folder)
        for unused in ("node_modules", "cache"):
            shutil.rmtree(folder / unused)
        stamp.write_text(version)


def run(folder: Path, *command: str, **variables: str) -> None:
    """Runs a command of an installation in `folder`. Raises InstallationError."""
    log = folder.with_suffix(".log")
    with log.open("w") as sink:
        try:
            subprocess.run(
                command,
                cwd=folder,
                env={**environment(), **variables},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                check=True,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            raise InstallationError(f"the npm package cannot be installed (see {log})") from error
