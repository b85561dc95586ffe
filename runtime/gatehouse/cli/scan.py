"""`gatehouse scan`: finds Gatehouse tokens in files before the files are committed or published."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import typer

from gatehouse.cli.output import FAILED, USAGE, count, note, print_json, printable, stop
from gatehouse.crypto.token_scanner import Kind, Match, find

#: Larger files are skipped with a note.
FILE_BYTES_MAX = 10 * 1024 * 1024

#: The configuration of a scanned repository can specify commands that Git runs. These options disable such commands.
_SAFE_GIT = ("git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "submodule.recurse=false")

_STDIN = "-"

#: Instructions for each kind of token except API keys, which are revoked by ID.
_REMEDIES = {
    Kind.BOOTSTRAP_TOKEN: "A bootstrap token cannot be revoked: rotate its secret in AWS Secrets Manager",
    Kind.SIGN_IN_CODE: "A sign-in code expires after one use or five minutes. To revoke it, run `gatehouse sessions end`",
    Kind.SESSION: "To end a session, run `gatehouse sessions end`",
    Kind.CORE_SECRET: "To replace a Core secret, register the Core again",
    Kind.SIGNING_SECRET: "To replace a signing secret, run `gatehouse keys set-signing`",
    Kind.WEBHOOK_SECRET: "A webhook secret cannot be changed: delete the webhook and create a new one",
    Kind.LINK: "To revoke a secret link, run `gatehouse secrets revoke`",
}

Text = tuple[str, bytes]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(scan)


def scan(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="PATH", help="Files and directories; `-` reads standard input.")
    ] = None,
    prefix: Annotated[list[str] | None, typer.Option(help="Key prefix, such as gtk; repeatable. Default: any prefix.")] = None,
    staged: Annotated[bool, typer.Option("--staged", help="Scan the staged changes of the Git repository.")] = False,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Files to skip, such as 'tests/*.json'; repeatable.")
    ] = None,
    pattern: Annotated[
        list[str] | None,
        typer.Option(metavar="REGEX", help="Format of additional tokens, such as tokens of imported keys; repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find Gatehouse tokens in files. In directories, files that Git ignores are skipped.

    Finds API keys of any prefix and environment, bootstrap tokens, sign-in codes, session cookies, secret links, and the secrets
    of Cores, webhooks and signatures.

    Prints FILE:LINE and the token without its secret. Exit codes: 0 no tokens, 1 tokens found, 2 a file cannot be read.
    """
    if staged == bool(paths):
        stop("use either paths (files, directories, or - for standard input) or --staged", code=USAGE)
    texts = _staged() if staged else _texts(paths or [])
    patterns = [_compiled(text) for text in pattern or ()]
    matches = [
        (name, match)
        for name, text in texts
        if not any(fnmatchcase(name, skipped) for skipped in exclude or ())
        for match in (*find(text, prefix or ()), *_foreign(text, patterns))
    ]
    if as_json:
        print_json([_view(name, match) for name, match in matches])
    else:
        for name, match in matches:
            print(f"{printable(name)}:{match.line}: {match.redacted}")
    if matches:
        ids = " ".join(sorted({match.key_id for _, match in matches if match.key_id}))
        found = f"{count(len(matches), 'token')} found. Anyone with access to these files can use the tokens"
        note(found + (f": revoke {ids}" if ids else ""))
        for kind in sorted({match.kind for _, match in matches if match.kind in _REMEDIES}):
            note(_REMEDIES[kind])
        sys.exit(FAILED)


def _view(name: str, match: Match) -> dict[str, str | int | None]:
    key = {"prefix": match.prefix, "environment": match.environment, "key_id": match.key_id}
    return {"file": name, "line": match.line, "kind": match.kind, **key, "token": match.redacted}


def _compiled(pattern: str) -> re.Pattern[bytes]:
    try:
        return re.compile(pattern.encode())
    except re.error as exc:
        stop(f"--pattern is not a regular expression: {exc}", code=USAGE)


def _foreign(text: bytes, patterns: list[re.Pattern[bytes]]) -> Iterator[Match]:
    """Matches of the patterns. A match contains no part of the matched text."""
    for pattern in patterns:
        for found in pattern.finditer(text):
            if found.group():
                line = 1 + text.count(b"\n", 0, found.start())
                yield Match(found.start(), line, Kind.API_KEY, "", f"matches {pattern.pattern.decode()}")


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
    """Files that Git tracks or would track. Outside a repository, all files. Symbolic links are not followed."""
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
        if not path.is_file():
            stop(f"{printable(str(path))} is not a regular file", code=USAGE)
        text = b"" if size > FILE_BYTES_MAX else path.read_bytes()
    except OSError as exc:
        stop(f"{printable(str(path))} cannot be read: {exc.strerror or type(exc).__name__}", code=USAGE)
    yield from _checked(str(path), text, size)


def _staged() -> Iterator[Text]:
    """The staged contents, which may differ from the working tree."""
    names = _git("diff", "--cached", "--name-only", "-z", "--diff-filter=ACMRT", "--no-renames", folder=Path())
    if names is None:
        stop("--staged requires a Git repository", code=USAGE)
    root = (_git("rev-parse", "--show-toplevel", folder=Path()) or b"").decode("utf-8", "surrogateescape").rstrip("\n")
    for raw in filter(None, names.split(b"\0")):
        name = raw.decode("utf-8", "surrogateescape")
        size = _git("cat-file", "-s", f":{name}", folder=Path(root))
        if size is None:
            continue  # a submodule
        text = _git("cat-file", "blob", f":{name}", folder=Path(root)) if int(size) <= FILE_BYTES_MAX else b""
        yield from _checked(name, text or b"", int(size))


def _checked(name: str, text: bytes, size: int) -> Iterator[Text]:
    if size > FILE_BYTES_MAX:
        note(f"skipped {printable(name)}: larger than {FILE_BYTES_MAX // 1024 // 1024} MiB")
    else:
        yield name, text.replace(b"\0", b"")  # also finds keys in UTF-16


def _git(*command: str, folder: Path) -> bytes | None:
    """Output of a Git command, or None if Git is missing or the folder is not in a repository."""
    try:
        done = subprocess.run([*_SAFE_GIT, "-C", str(folder), *command], capture_output=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None
