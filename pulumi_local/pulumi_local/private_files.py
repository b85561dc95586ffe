"""Private files and folders: only their owner can read them."""

import os
import stat
from pathlib import Path

from pulumi_local.errors import CommandError


def private_folder(folder: Path) -> Path:
    """Create a folder with mode 0700, or set the mode of an existing folder. Raises CommandError
    for a folder of another user, and for a symbolic link, which could be part of a repository.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if stat.S_ISLNK(status.st_mode):
        raise CommandError(f"{folder} is a symbolic link. Delete the link.")
    if status.st_uid != os.geteuid():
        raise CommandError(
            f"{folder} belongs to another user. Delete the folder, or run the command as its owner."
        )
    if stat.S_IMODE(status.st_mode) & 0o077:
        folder.chmod(0o700)
    return folder


def write_private(file: Path, text: str) -> None:
    """Write a file with mode 0600, atomically. Replaces a symbolic link and never follows it."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(text)
    temporary.replace(file)
