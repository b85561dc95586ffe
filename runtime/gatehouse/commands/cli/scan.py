"""`gatehouse scan`: finds Gatehouse tokens in files before the files are committed or published."""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from gatehouse.commands.cli.common.output import (
    FAILED,
    USAGE,
    JsonOption,
    note,
    print_json,
    printable,
    reject,
)
from gatehouse.core.notation import count
from gatehouse.core.tokens.token_scanner import Kind, Match, find, redacted

#: Larger files are skipped with a note. Larger standard input is an error.
FILE_BYTES_MAX = 10 * 1024 * 1024
_FILE_SIZE = f"{FILE_BYTES_MAX // 1024 // 1024} MiB"
#: The search ends after this number of tokens.
MATCHES_MAX = 10_000

_STDIN = "-"

#: Instructions for each kind of token except API keys, which are revoked by ID.
_REMEDIES = {
    Kind.BOOTSTRAP_TOKEN: (
        "A bootstrap token cannot be revoked: rotate its secret in AWS Secrets Manager"
    ),
    Kind.SIGN_IN_CODE: (
        "A sign-in code expires after one use or five minutes, that of a link to the portal after "
        "one use or up to a day. To revoke it, run `gatehouse sessions link` with the same "
        "credential, or `gatehouse customers disable` for the portal"
    ),
    Kind.SESSION: (
        "To end a session, run `gatehouse sessions end`, or `gatehouse customers disable` for one "
        "of the portal"
    ),
    Kind.CORE_SECRET: "To replace a Core secret, register the Core again",
    Kind.WEBHOOK_SECRET: "To replace a webhook secret, run `gatehouse webhooks rotate-secret`",
    Kind.LINK: "To revoke a secret link, run `gatehouse secrets revoke`",
}

Text = tuple[str, bytes]


def register(app: typer.Typer) -> None:
    app.command()(scan)


def scan(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH", help="Files and directories; `-` reads standard input."),
    ],
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Files to skip, such as 'tests/*.json'; repeatable."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find Gatehouse tokens in files and directories, except for the directory .git. No other
    program is run.

    Finds API keys of any prefix and environment, bootstrap tokens, sign-in codes, session cookies,
    secret links, and the secrets of Cores and webhooks.

    Prints FILE:LINE and the token without its secret. Exit codes: 0 no tokens, 1 tokens found, 2 a
    file cannot be read.

    Example: gatehouse scan . --exclude 'tests/*.json'
    """
    found = (
        (name, match)
        for name, text in _texts(paths)
        if not any(fnmatchcase(name, skipped) for skipped in exclude or ())
        for match in find(text)
    )
    matches, is_read = list[tuple[str, Match]](), False
    with suppress(SystemExit):  # a file cannot be read: what was found in others is still printed
        matches.extend(islice(found, MATCHES_MAX))
        is_read = True
    if as_json:
        print_json(
            [
                {
                    "file": redacted(name),
                    "line": match.line,
                    "kind": match.kind,
                    "key_id": match.key_id,
                    "token": match.redacted,
                }
                for name, match in matches
            ]
        )
    else:
        for name, match in matches:
            print(f"{printable(name)}:{match.line}: {match.redacted}")
    if matches:
        ids = " ".join(sorted({match.key_id for _, match in matches if match.key_id}))
        result = (
            f"{count(len(matches), 'token')} found. Anyone with access to these files can "
            f"use the tokens"
        )
        note(result + (f": revoke {ids}" if ids else ""))
        if len(matches) == MATCHES_MAX:
            note("The files may contain more tokens")
        for kind in sorted({match.kind for _, match in matches if match.kind in _REMEDIES}):
            note(_REMEDIES[kind])
    if not is_read:
        sys.exit(USAGE)
    if matches:
        sys.exit(FAILED)


def _texts(paths: list[str]) -> Iterator[Text]:
    links = [path for path in paths if Path(path).is_symlink() and Path(path).is_dir()]
    for path in links:  # can lead out of a repository
        note(f"skipped {path}: a symbolic link to a directory")
    if len(links) == len(paths):
        reject("nothing was scanned: name the target of the symbolic link")
    for path in paths:
        if path in links:
            continue
        if path == _STDIN:
            yield "(stdin)", _standard_input()
        if path == _STDIN and not Path(path).is_file():  # a list of files can contain one
            continue
        if Path(path).is_dir():
            for file in _files(Path(path)):
                yield from _file(file)
        else:
            yield from _file(Path(path))


def _standard_input() -> bytes:
    content = sys.stdin.buffer.read(FILE_BYTES_MAX + 1)
    if len(content) > FILE_BYTES_MAX:  # not skipped, because the input may be all that is scanned
        reject(f"standard input is larger than {_FILE_SIZE}: scan it as several files")
    return content.replace(b"\0", b"")


def _files(folder: Path) -> Iterator[Path]:
    try:
        for parent, folders, names in os.walk(folder, onerror=_unreadable):
            folders[:] = sorted(name for name in folders if name != ".git")
            for path in (Path(parent, name) for name in sorted(names)):
                if stat.S_ISREG(path.lstat().st_mode):
                    yield path
    except OSError as exc:
        _unreadable(exc)
    except RecursionError:
        reject(f"{folder} has too many levels of directories")


def _file(path: Path) -> Iterator[Text]:
    try:
        content = _read_regular(path)
    except OSError as exc:
        _unreadable(exc)
    if content is None:
        reject(f"{path} is not a regular file")
    if len(content) > FILE_BYTES_MAX:
        note(f"skipped {path}: larger than {_FILE_SIZE}")
    else:
        yield str(path), content.replace(b"\0", b"")  # also finds keys in UTF-16


def _read_regular(path: Path) -> bytes | None:
    """The content of a regular file, at most one byte more than FILE_BYTES_MAX, or None for another
    file. Raises OSError.

    Does not wait for named pipes and devices.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        return file.read(FILE_BYTES_MAX + 1) if is_regular else None


def _unreadable(exc: OSError) -> NoReturn:
    reason = exc.strerror or type(exc).__name__
    reject(f"{exc.filename} cannot be read: {reason}")
