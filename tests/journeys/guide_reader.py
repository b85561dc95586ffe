"""Runs the commands of a guide and compares their output with the page.

A block with the fence `console run` contains commands (`$ ...`, continued by a backslash at the end
of a line), each followed by its output. `console run again` repeats each command until the output
matches; `console run nginx` is skipped without nginx. A block below a line such as "`app.py`:" is a
file that is written before the commands after it. On the page,

- `...` matches anything,
- a token, secret link, ID, hash or timestamp matches a value of the same form, and is replaced by
  that value in later commands and output (the ID of another key is therefore a failure),
- a text in `replacements` stands for another text, such as the address of the sandbox,
- white space and table borders match any amount of them.

A command must succeed unless the page shows an error (`gatehouse: ...`). A command that ends in `&`
runs until the end of the page. A reader waits `pause_s` before each command, like a person who
types.
"""

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
    r"^(?:`(?P<file>[\w./-]+)`:\n\n```\w+\n(?P<text>.*?)^```$|```console run(?: "
    r"(?P<word>\w+))?\n(?P<run>.*?)^```$)",
    re.DOTALL | re.MULTILINE,
)
_TIMESTAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"
_LOCAL_TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Z0-9+-]+"
_VALUE = re.compile(
    r"(?P<token>[a-z]+_(?:test|live|admin)_[0-9A-Za-z]+(?:\.\.\.)?)"
    rf"|(?P<timestamp>{_TIMESTAMP})"
    rf"|(?P<time>{_LOCAL_TIME})"
    r"|(?P<request>req_[0-9a-f]+(?:\.\.\.)?)"
    r"|(?P<secret>(?:whsec|sigkey)_[0-9A-Za-z+/=]+(?:\.\.\.)?)"
    r"|(?P<link>/[sr]/[0-9A-Za-z]{22,28}#(?:[0-9A-Za-z]+|\.\.\.))"
    r"|(?P<hash>\b[0-9a-f]{64}\b)"
    r"|(?P<id>\b(?=\w*[0-9])(?=\w*[A-Z])(?=\w*[a-z])(?:[0-9A-Za-z]{12}|[0-9A-Za-z]{22})\b)"
    r"|(?P<any>\.\.\.)"
    r"|(?P<line>[─━┏┳┓┡╇┩└┴┘]+)"
    r"|(?P<space>\s+)"
)
_PATTERNS = {
    "timestamp": _TIMESTAMP,
    "time": _LOCAL_TIME,
    "request": r"req_[0-9a-f]+",
    "hash": r"[0-9a-f]{64}",
    "any": r".*?",
    "line": r"[─━┏┳┓┡╇┩└┴┘]+",
    "space": r"\s*",
}
# Kinds of values that are the same wherever the page shows them.
_REPLACED = frozenset({"token", "request", "secret", "link", "hash", "id"})
_RETRY = "again"
_ID_CHARS = 12
#: `/s/<ID of the secret><ID of the link>#...` or `/r/<ID of the secret request>#...`.
_LINK = re.compile(r"/[sr]/(?P<id>\w{22})(?P<link_id>\w{6})?#")
_STEP_S = 90.0
_POLL_S = 0.05


@dataclass(frozen=True)
class File:
    name: str
    text: str


@dataclass(frozen=True)
class Step:
    command: str
    expected: str  # the output on the page
    retry: bool = False


class OutputDiffers(AssertionError):
    """The output of a command differs from the page."""


def parse(page: str) -> list[File | Step]:
    steps: list[File | Step] = []
    for block in _BLOCK.finditer(page):
        if block["file"]:
            steps.append(File(block["file"], block["text"]))
        elif block["word"] in {None, _RETRY} or shutil.which(block["word"]):
            steps.extend(
                Step(*step, retry=block["word"] == _RETRY) for step in _steps(block["run"])
            )
    return steps


def _steps(text: str) -> Iterator[tuple[str, str]]:
    lines = text.splitlines()
    if not lines or not lines[0].startswith("$ "):
        raise ValueError("a block with commands must start with: $ ...")
    index = 0
    while index < len(lines):
        command = [lines[index].removeprefix("$ ")]
        index += 1
        while command[-1].endswith("\\"):
            command.append(lines[index])
            index += 1
        expected = []
        while index < len(lines) and not lines[index].startswith("$ "):
            expected.append(lines[index])
            index += 1
        yield "\n".join(command), "\n".join(expected).strip()


@dataclass
class Values:
    known: dict[str, str] = field(default_factory=dict)

    def replace(self, text: str) -> str:
        if not self.known:
            return text
        expected = "|".join(re.escape(part) for part in sorted(self.known, key=len, reverse=True))
        return re.sub(expected, lambda match: self.known[match[0]], text)

    def learn(self, expected: str, actual: str) -> None:
        groups: dict[str, str] = {}
        pattern = "".join(self._pattern(expected, groups))
        match = re.fullmatch(r"\s*" + pattern + r"\s*", actual, flags=re.DOTALL)
        if match is None:
            raise OutputDiffers(f"expected\n{expected}\n\nbut the output is\n{actual}")
        for value, group in groups.items():
            self._store(value, match[group])

    def _pattern(self, expected: str, groups: dict[str, str]) -> Iterator[str]:
        index = 0
        for match in _VALUE.finditer(expected):
            yield re.escape(self.replace(expected[index : match.start()]))
            yield self._value_pattern(match, groups)
            index = match.end()
        yield re.escape(self.replace(expected[index:]))

    def _value_pattern(self, match: re.Match[str], groups: dict[str, str]) -> str:
        value, kind = match[0], str(match.lastgroup)
        if value in self.known:
            return re.escape(self.known[value])
        if value in groups:
            return f"(?P={groups[value]})"
        pattern = _PATTERNS.get(kind) or _pattern_of_form(value, kind)
        if kind not in _REPLACED:
            return pattern
        groups[value] = f"v{len(groups)}"
        return f"(?P<{groups[value]}>{pattern})"

    def _store(self, expected: str, actual: str) -> None:
        self.known[expected] = actual
        head, mark, tail = expected.removesuffix("...").rpartition("_")
        if mark and head.endswith(("_test", "_live")) and len(tail) >= _ID_CHARS:
            # A token contains the ID of its key. The page also shows the ID without the token.
            expected_id, actual_id = tail[:_ID_CHARS], actual.rpartition("_")[2][:_ID_CHARS]
            self._store_part(expected, expected_id, actual_id)
        if (link := _LINK.match(expected)) and (actual_link := _LINK.match(actual)):
            for expected_id, actual_id in zip(link.groups(""), actual_link.groups(""), strict=True):
                if expected_id:
                    self._store_part(expected, expected_id, actual_id)

    def _store_part(self, expected: str, expected_id: str, actual_id: str) -> None:
        if self.known.setdefault(expected_id, actual_id) != actual_id:
            raise OutputDiffers(f"{expected} does not contain the ID {expected_id}")


def _pattern_of_form(value: str, kind: str) -> str:
    """Matches values with the same prefix as `value`, and IDs of the same length."""
    if kind == "id":
        return f"[0-9A-Za-z]{{{len(value)}}}"
    if kind == "link":
        return f"{value[:3]}[0-9A-Za-z]{{{value.index('#') - 3}}}#[0-9A-Za-z]+"
    return re.escape(value.rpartition("_")[0]) + "_[0-9A-Za-z+/=]+"


class GuideReader:
    def __init__(
        self,
        folder: Path,
        environ: Mapping[str, str],
        replacements: Mapping[str, str],
        pause_s: float = 0,
    ) -> None:
        self._folder = folder
        self._pause_s = pause_s
        self._environ = {
            **environ,
            "HOME": str(folder),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "GATEHOUSE_OUTPUT": "table",  # as in a terminal
        }
        self._state = folder / ".state"
        self._values = Values(dict(replacements))
        self._running: list[subprocess.Popen[bytes]] = []
        self._count = 0

    def run(self, page: str) -> int:
        """Returns the number of commands. Raises OutputDiffers at the first difference."""
        steps = parse(page)
        for part in steps:
            if isinstance(part, File):
                file = self._folder / part.name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(self._values.replace(part.text))
            else:
                time.sleep(self._pause_s)
                self._run_step(part)
        return sum(isinstance(part, Step) for part in steps)

    def close(self) -> None:
        for child in self._running:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGTERM)
                child.wait(timeout=60)

    def _run_step(self, step: Step) -> None:
        command = self._values.replace(step.command)
        self._count += 1
        log = self._folder / f".out{self._count}"
        deadline = time.monotonic() + _STEP_S
        try:
            if command.rstrip().endswith("&"):
                self._start(command.rstrip().removesuffix("&"), step.expected, log)
                return
            while True:
                code = self._spawn(command, log).wait(timeout=_STEP_S)
                try:
                    self._compare(step.expected, code, log.read_text())
                    return
                except OutputDiffers:
                    if not step.retry or time.monotonic() > deadline:
                        raise
        except OutputDiffers as exc:
            raise OutputDiffers(f"$ {step.command}\n{exc}") from None

    def _compare(self, expected: str, code: int, actual: str) -> None:
        if (code == 0) is bool(re.search(r"^gatehouse: ", expected, flags=re.MULTILINE)):
            raise OutputDiffers(f"exit code {code}, output\n{actual}")
        self._values.learn(expected, actual)

    def _start(self, command: str, expected: str, log: Path) -> None:
        child = self._spawn(command, log)
        self._running.append(child)
        deadline = time.monotonic() + _STEP_S
        while True:
            try:
                self._values.learn(expected, log.read_text())
                return
            except OutputDiffers:
                if child.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_S)

    def _spawn(self, command: str, log: Path) -> subprocess.Popen[bytes]:
        script = (
            f"set -a; [ -f {self._state} ] && . {self._state}\ntrap 'export -p > "
            f"{self._state}' EXIT\n{command}\n"
        )
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
