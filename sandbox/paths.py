"""The repository's folder, the folder of local state, and the check of files in it."""

import os
import stat
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
HOME = REPOSITORY / ".gatehouse"
"""Logs and the state of a running `up`."""


def is_own_file(file: Path) -> bool:
    """True for a regular file that belongs to this user and that no other user can write. Other
    files could contain the ID of any process of this user.

    Raises OSError if the file does not exist.
    """
    status = file.lstat()
    return (
        stat.S_ISREG(status.st_mode)
        and status.st_uid == os.geteuid()
        and not status.st_mode & 0o022
    )
