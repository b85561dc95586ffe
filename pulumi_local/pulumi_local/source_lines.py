"""Lines of a program: files of libraries and of this distribution are ignored."""

import os
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import pulumi.runtime.resource
from pulumi.runtime.proto import source_pb2

_PACKAGE_FOLDERS = frozenset({"site-packages", "dist-packages"})
_LIBRARY_FOLDERS = _PACKAGE_FOLDERS | {".venv", "venv", "node_modules"}
_STANDARD_LIBRARY = str(Path(os.__file__).resolve().parent)
_OWN_FOLDER = Path(__file__).resolve().parent


_SDK: Any = pulumi.runtime.resource
_TRACE = "_get_stack_trace"
# Resource, CustomResource or ComponentResource, and the class of the resource.
_CONSTRUCTORS = 3


@contextmanager
def short_traces(root: Path) -> Iterator[None]:
    """Until the end of the block, the stack trace of a resource has one frame: the line of the
    program. The SDK converts each frame for each resource, which takes a quarter of the run time of
    a program. An SDK without the replaced function is left unchanged.
    """
    original = getattr(_SDK, _TRACE, None)

    def trace() -> source_pb2.StackTrace:
        frame, constructors = sys._getframe(1), 0  # noqa: SLF001  as in the logging module
        while frame.f_back is not None:
            if constructors == _CONSTRUCTORS:
                file, line = frame.f_code.co_filename, frame.f_lineno
                if source_line(file, line, root):
                    position = source_pb2.SourcePosition(uri=_uri(file), line=line)
                    return source_pb2.StackTrace(frames=[source_pb2.StackFrame(pc=position)])
            elif frame.f_code.co_name == "__init__":
                constructors += 1
            frame = frame.f_back
        return source_pb2.StackTrace()

    if original is None:
        yield
        return
    setattr(_SDK, _TRACE, trace)
    try:
        yield
    finally:
        setattr(_SDK, _TRACE, original)


@lru_cache(maxsize=4096)
def _uri(file: str) -> str:
    return Path(file).absolute().as_uri()


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
