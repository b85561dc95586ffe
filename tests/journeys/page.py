"""Follows a guide as a reader would: runs the commands of its marked blocks and holds the answers against what the page shows.

A block whose fence says `console run` holds commands (`$ ...`, continued by a backslash at the end of a line) and, below each,
what comes; `console run again` repeats each until it comes, `console run nginx` is left out where there is no nginx. A block
below a line such as "`app.py`:" is a file, written before the commands that follow it. On the page,

- `...` stands for anything,
- a token, key id, request id, hash or instant stands for one like it: whatever came in its place is put into every later command
  and answer that shows the same value, so that an id that belongs to another key is a failure,
- an address of `places` stands for the one that the sandbox really has,
- white space and the lines of a table stand for any amount of them.

A command must end well unless the page shows the error (`gatehouse: ...`) below it. One that ends in `&` goes on until the end.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_BLOCK = re.compile(
    r"^(?:`(?P<file>[\w.-]+)`:\n\n```\w+\n(?P<text>.*?)^```$|```console run(?: (?P<word>\w+))?\n(?P<run>.*?)^```$)",
    re.DOTALL | re.MULTILINE,
)
_VALUE = re.compile(
    r"(?P<token>[a-z]+_(?:test|live|admin)_[0-9A-Za-z]+(?:\.\.\.)?)"
    r"|(?P<instant>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)"
    r"|(?P<request>req_[0-9a-f]+(?:\.\.\.)?)"
    r"|(?P<secret>whsec_[0-9A-Za-z+/=]+(?:\.\.\.)?)"
    r"|(?P<hash>\b[0-9a-f]{64}\b)"
    r"|(?P<id>\b(?=\w*[0-9])(?=\w*[A-Z])(?=\w*[a-z])[0-9A-Za-z]{12}\b)"
    r"|(?P<any>\.\.\.)"
    r"|(?P<line>[─━┏┳┓┡╇┩└┴┘]+)"
    r"|(?P<space>\s+)"
)
_LIKE = {
    "instant": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z",
    "request": r"req_[0-9a-f]+",
    "secret": r"whsec_[0-9A-Za-z+/=]+",
    "hash": r"[0-9a-f]{64}",
    "id": r"[0-9A-Za-z]{12}",
    "any": r".*?",
    "line": r"[─━┏┳┓┡╇┩└┴┘]+",
    "space": r"\s*",
}
#: They stand for one value wherever the page shows them.
_KEPT = frozenset({"token", "request", "secret", "hash", "id"})
_AGAIN = "again"
_ID_CHARS = 12
_STEP_S = 90.0
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class File:
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Step:
    command: str
    shown: str  # what the page says that comes
    again: bool = False  # it may come late


class Differs(AssertionError):
    """The page shows something else than what came."""


def parts(page: str) -> list[File | Step]:
    """Files and commands of a page, in their order."""
    found: list[File | Step] = []
    for block in _BLOCK.finditer(page):
        if block["file"]:
            found.append(File(block["file"], block["text"]))
        elif block["word"] in {None, _AGAIN} or shutil.which(block["word"]):
            found.extend(Step(*step, again=block["word"] == _AGAIN) for step in _steps(block["run"]))
    return found


def _steps(text: str) -> Iterator[tuple[str, str]]:
    lines = text.splitlines()
    if not lines or not lines[0].startswith("$ "):
        raise ValueError("a block that is run begins with a command: $ ...")
    at = 0
    while at < len(lines):
        command = [lines[at].removeprefix("$ ")]
        at += 1
        while command[-1].endswith("\\"):
            command.append(lines[at])
            at += 1
        shown = []
        while at < len(lines) and not lines[at].startswith("$ "):
            shown.append(lines[at])
            at += 1
        yield "\n".join(command), "\n".join(shown).strip()


@dataclass
class Values:
    """What the page's values really are."""

    known: dict[str, str] = field(default_factory=dict)

    def put_in(self, text: str) -> str:
        """`text` with the real values, the longest of the page's first."""
        if not self.known:
            return text
        shown = "|".join(re.escape(one) for one in sorted(self.known, key=len, reverse=True))
        return re.sub(shown, lambda match: self.known[match[0]], text)

    def learn(self, shown: str, came: str) -> None:
        """Holds an answer against the page's, and keeps the values in it. Raises Differs."""
        groups: dict[str, str] = {}
        pattern = "".join(self._pattern(shown, groups))
        match = re.fullmatch(r"\s*" + pattern + r"\s*", came, flags=re.DOTALL)
        if match is None:
            raise Differs(f"the page shows\n{shown}\n\nand what came is\n{came}")
        for value, group in groups.items():
            self._keep(value, match[group])

    def _pattern(self, shown: str, groups: dict[str, str]) -> Iterator[str]:
        at = 0
        for found in _VALUE.finditer(shown):
            yield re.escape(self.put_in(shown[at : found.start()]))
            yield self._like(found, groups)
            at = found.end()
        yield re.escape(self.put_in(shown[at:]))

    def _like(self, found: re.Match[str], groups: dict[str, str]) -> str:
        value, kind = found[0], str(found.lastgroup)
        if value in self.known:
            return re.escape(self.known[value])
        if value in groups:
            return f"(?P={groups[value]})"
        like = _LIKE[kind] if kind != "token" else re.escape("_".join(value.split("_")[:-1])) + "_[0-9A-Za-z]+"
        if kind not in _KEPT:
            return like
        groups[value] = f"v{len(groups)}"
        return f"(?P<{groups[value]}>{like})"

    def _keep(self, shown: str, came: str) -> None:
        self.known[shown] = came
        head, mark, tail = shown.removesuffix("...").rpartition("_")
        if mark and head.endswith(("_test", "_live")) and len(tail) >= _ID_CHARS:
            # A token begins with the id of its key, which the page shows by itself too.
            shown_id, came_id = tail[:_ID_CHARS], came.rpartition("_")[2][:_ID_CHARS]
            if self.known.setdefault(shown_id, came_id) != came_id:
                raise Differs(f"the token {shown} is not of the key {shown_id}")


class Reader:
    """A shell in a folder of its own. Variables that a command sets are there for the next one."""

    def __init__(self, folder: Path, environ: Mapping[str, str], places: Mapping[str, str]) -> None:
        self._folder = folder
        self._environ = {**environ, "HOME": str(folder), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        self._state = folder / ".state"
        self._values = Values(dict(places))
        self._running: list[subprocess.Popen[bytes]] = []
        self._count = 0

    def follow(self, page: str) -> int:
        """Does all that the page says. Returns how many commands were run; raises Differs at the first that goes another way."""
        steps = parts(page)
        for one in steps:
            if isinstance(one, File):
                (self._folder / one.name).write_text(self._values.put_in(one.text), encoding="utf-8")
            else:
                self._do(one)
        return sum(isinstance(one, Step) for one in steps)

    def close(self) -> None:
        for child in self._running:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGTERM)
                child.wait(timeout=30)

    def _do(self, step: Step) -> None:
        command = self._values.put_in(step.command)
        self._count += 1
        log = self._folder / f".out{self._count}"
        deadline = time.monotonic() + _STEP_S
        try:
            if command.rstrip().endswith("&"):
                self._start(command.rstrip().removesuffix("&"), step.shown, log)
                return
            while True:
                code = self._spawn(command, log).wait(timeout=_STEP_S)
                try:
                    self._compare(step.shown, code, log.read_text(encoding="utf-8"))
                    return
                except Differs:
                    if not step.again or time.monotonic() > deadline:
                        raise
        except Differs as exc:
            raise Differs(f"$ {step.command}\n{exc}") from None

    def _compare(self, shown: str, code: int, came: str) -> None:
        if (code == 0) is bool(re.search(r"^gatehouse: ", shown, flags=re.MULTILINE)):
            raise Differs(f"it ends with {code}, and prints\n{came}")
        self._values.learn(shown, came)

    def _start(self, command: str, shown: str, log: Path) -> None:
        child = self._spawn(command, log)
        self._running.append(child)
        deadline = time.monotonic() + _STEP_S
        while True:
            try:
                self._values.learn(shown, log.read_text(encoding="utf-8"))
                return
            except Differs:
                if child.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_S)

    def _spawn(self, command: str, log: Path) -> subprocess.Popen[bytes]:
        script = f"set -a; [ -f {self._state} ] && . {self._state}\ntrap 'export -p > {self._state}' EXIT\n{command}\n"
        with log.open("wb") as sink:
            return subprocess.Popen(
                ["bash", "-c", script],
                cwd=self._folder,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
