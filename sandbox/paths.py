"""The repository's folder, the folder of local state, and private files in it."""

import os
import stat
from pathlib import Path

from sandbox.errors import SandboxError

REPOSITORY = Path(__file__).resolve().parents[1]
IN_REPOSITORY = (REPOSITORY / "Pulumi.yaml").is_file()
"""False for the installed package `gatehouse-policies`, which contains the check only."""
HOME = (REPOSITORY if IN_REPOSITORY else Path.cwd()) / ".gatehouse"
"""Logs, reports and the state of a running `up`."""


def private_folder(folder: Path) -> Path:
    """Create a folder with mode 0700, or set the mode of an existing folder. Raises SandboxError for a folder of another user."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.geteuid():
        raise SandboxError(f"{folder} belongs to another user. Delete the folder, or run the command as its owner.")
    if stat.S_IMODE(status.st_mode) & 0o077:
        folder.chmod(0o700)
    return folder


def is_own_file(file: Path) -> bool:
    """True for a regular file that belongs to this user and that no other user can write. Other files could contain the ID of any
    process of this user.

    Raises OSError if the file does not exist.
    """
    status = file.lstat()
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022


def write_private(file: Path, text: str) -> None:
    """Write a file with mode 0600, atomically."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(text)
    temporary.replace(file)
