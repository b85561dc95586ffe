"""Lines of a program: files of libraries and of this distribution are ignored."""

import os
import sysconfig
from functools import lru_cache
from pathlib import Path

_PACKAGE_FOLDERS = frozenset({"site-packages", "dist-packages"})
_LIBRARY_FOLDERS = _PACKAGE_FOLDERS | {".venv", "venv", "node_modules"}
_STANDARD_LIBRARY = str(Path(os.__file__).resolve().parent)
_OWN_FOLDER = Path(__file__).resolve().parents[1]


def source_line(file: str, line: int, root: Path) -> str:
    """`components/bucket.py:88` for a file of the program, `../shared/bucket.py:88` for a file of
    the same repository outside the folder of the program, and "" for any other file."""
    relative = _relative(file, root)
    return f"{relative}:{line}" if relative else ""


@lru_cache(maxsize=4096)
def is_library(file: str) -> bool:
    """True for a file of the standard library or of an installed package."""
    return (
        not _PACKAGE_FOLDERS.isdisjoint(Path(file).parts)
        or file.startswith((_STANDARD_LIBRARY, sysconfig.get_path("stdlib")))
        or file.startswith("<")
    )


@lru_cache(maxsize=64)
def repository_of(folder: Path) -> Path:
    """The closest folder with `.git` that contains the folder; the folder itself if there is
    none.
    """
    return next(
        (parent for parent in (folder, *folder.parents) if (parent / ".git").exists()), folder
    )


@lru_cache(maxsize=4096)
def _relative(file: str, root: Path) -> str:
    # A module that was imported from a relative path, such as `sys.path.append("..")`, contains
    # `..` in its path.
    path, repository = Path(os.path.normpath(file)), repository_of(root)
    if not path.is_relative_to(repository) or is_library(file):
        return ""
    if path.is_relative_to(_OWN_FOLDER) or _LIBRARY_FOLDERS & set(
        path.relative_to(repository).parts
    ):
        return ""
    return Path(os.path.relpath(path, root)).as_posix()
