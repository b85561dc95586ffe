"""`gatehouse scan`: finds our keys in files, exactly, so that none is committed or published."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from gatehouse.cli.output import FAILED, USAGE, note, print_json, stop
from gatehouse.leaks.scanner import Match, find

#: A file that is larger holds data, not code; it is named and passed over.
FILE_BYTES_MAX = 10 * 1024 * 1024


#: Where git looks, too: a NUL in the beginning makes a file binary.
_BINARY_BYTES = 8000


_STDIN = "-"


Text = tuple[str, bytes]


def register(app: typer.Typer) -> None:
    app.command()(scan)


def scan(
    paths: Annotated[list[str] | None, typer.Argument(metavar="[PATH]...", help="Files and directories; - for stdin.")] = None,
    prefix: Annotated[
        list[str] | None, typer.Option(help="Brand of the keys (gtk); may be repeated. Default: every one.")
    ] = None,
    staged: Annotated[bool, typer.Option("--staged", help="What is staged for the next commit, instead of files.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find Gatehouse keys in files, by their checksum. Inside a git repository what it ignores is passed over.

    Prints FILE:LINE and the key without its secret. Exit codes: 0 nothing found, 1 a key was found, 2 something cannot be read.
    """
    if staged == bool(paths):
        stop("name what to scan: files or directories, - for stdin, or --staged", code=USAGE)
    texts = _staged() if staged else _texts(paths or [])
    found = [(name, one) for name, text in texts for one in find(text, prefix or ())]
    if as_json:
        print_json([_shown(name, one) for name, one in found])
    else:
        for name, one in found:
            print(f"{name}:{one.line}: {one.redacted}")
    if found:
        ids = " ".join(sorted({one.token.id for _, one in found}))
        note(f"{len(found)} key{'' if len(found) == 1 else 's'} found; whoever can read these files has them: revoke {ids}")
        sys.exit(FAILED)


def _shown(name: str, one: Match) -> dict[str, str | int]:
    token = one.token
    facts = {"prefix": token.prefix, "environment": token.environment.value, "key_id": token.id}
    return {"file": name, "line": one.line, **facts, "key": one.redacted}


def _texts(paths: list[str]) -> Iterator[Text]:
    for path in paths:
        if path == _STDIN:
            yield "(stdin)", sys.stdin.buffer.read()
        elif Path(path).is_dir():
            for file in _files(Path(path)):
                yield from _file(file)
        else:
            yield from _file(Path(path))


def _files(folder: Path) -> Iterator[Path]:
    """What git tracks or would track; outside of a repository everything. Links are not followed: they could lead in a circle."""
    listed = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard", folder=folder)
    if listed is not None:
        names = sorted(name.decode("utf-8", "surrogateescape") for name in set(listed.split(b"\0")) if name)
        yield from (path for name in names if (path := folder / name).is_file() and not path.is_symlink())
        return
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and ".git" not in path.parts:
            yield path


def _file(path: Path) -> Iterator[Text]:
    try:
        size = path.stat().st_size
        text = b"" if size > FILE_BYTES_MAX else path.read_bytes()
    except OSError as exc:
        stop(f"{path} cannot be read: {exc.strerror or type(exc).__name__}", code=USAGE)
    yield from _checked(str(path), text, size)


def _staged() -> Iterator[Text]:
    """The staged contents, which may differ from the files beside them. Paths with spaces and line ends too."""
    names = _git("diff", "--cached", "--name-only", "-z", "--diff-filter=ACMRT", "--no-renames", folder=Path())
    if names is None:
        stop("--staged works inside a git repository alone", code=USAGE)
    root = (_git("rev-parse", "--show-toplevel", folder=Path()) or b"").decode("utf-8", "surrogateescape").rstrip("\n")
    for raw in filter(None, names.split(b"\0")):
        name = raw.decode("utf-8", "surrogateescape")
        size = _git("cat-file", "-s", f":{name}", folder=Path(root))
        if size is None:
            continue  # a submodule: its contents are another repository's
        text = _git("cat-file", "blob", f":{name}", folder=Path(root)) if int(size) <= FILE_BYTES_MAX else b""
        yield from _checked(name, text or b"", int(size))


def _checked(name: str, text: bytes, size: int) -> Iterator[Text]:
    if size > FILE_BYTES_MAX:
        note(f"passed over {name}: larger than {FILE_BYTES_MAX // 1024 // 1024} MB")
    elif b"\0" in text[:_BINARY_BYTES]:
        note(f"passed over {name}: binary")
    else:
        yield name, text


def _git(*command: str, folder: Path) -> bytes | None:
    """What git writes, None when it cannot: no git, or no repository."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *command], capture_output=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None
