"""Attacks on a gateway with raw requests, and on `gatehouse scan` with hostile repositories. They
change nothing, so they also run against deployments.

A load balancer or AWS WAF can reject a request before the gateway, so any status from 400 to 499,
status 501 or 505, or no response counts as a rejection. The tests of the runtime expect the exact
responses.
"""

import os
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from gatehouse.core.tokens.token_scanner import redacted

from tools.attack.cases import (
    AMBIGUOUS_HEADERS,
    AMBIGUOUS_PATHS,
    FRAMING,
    HOST,
    INVALID_HOSTS,
    MALFORMED_REQUESTS,
    SMUGGLED_PATH,
    SPOOFED_NAMES,
)

_AT_ONCE = 4
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
_SCAN = (str(Path(sys.executable).with_name("gatehouse")), "scan")


@dataclass(frozen=True)
class Target:
    """A gateway.

    token: an API key with access to the Core `core`; empty if there is none.
    received: the heads of the requests that the Core has received; None if it is not observed.
    timeout_s: maximum wait for the beginning of a response. pause_s: maximum wait for more of it.
    """

    url: str
    token: str = ""
    core: str = "docs"
    received: list[bytes] | None = None
    scan: tuple[str, ...] = _SCAN
    timeout_s: float = 20.0
    pause_s: float = 0.4

    def request(self, *headers: str, path: bytes = b"", method: bytes = b"GET") -> bytes:
        """A request to the Core, with the token."""
        path = path or f"/cores/{self.core}/x".encode()
        lines = [method + b" " + path + b" HTTP/1.1", b"Host: " + HOST]
        lines += [f"Authorization: Bearer {self.token or 'none'}".encode()]
        return b"\r\n".join((*lines, *(line.encode() for line in headers), b"", b""))

    def send(self, request: bytes) -> bytes:
        """Send a raw request. Returns everything that the gateway sends until it closes the
        connection or pauses. Raises OSError if it cannot be reached.
        """
        parts = urlsplit(self.url)
        host, is_tls = str(parts.hostname), parts.scheme == "https"
        address = host, parts.port or (443 if is_tls else 80)
        connection = socket.create_connection(address, self.timeout_s)
        if is_tls:
            tls = ssl.create_default_context()
            connection = tls.wrap_socket(connection, server_hostname=host)
        received = b""
        with connection, suppress(ConnectionError, TimeoutError):
            with suppress(ConnectionError):  # the response can precede the end of the request
                connection.sendall(request.replace(HOST, parts.netloc.encode(), 1))
            while data := connection.recv(1 << 16):
                received += data
                connection.settimeout(self.pause_s)
        return received


@dataclass(slots=True)
class Outcome:
    """Number of cases of an attack, and a sentence for each that succeeded."""

    name: str
    cases: int = 0
    failures: list[str] = field(default_factory=list)

    def check(self, holds: bool, failure: str) -> None:
        """Count a case. `failure`: what is wrong if the attack succeeds; contains no secret."""
        self.cases += 1
        if not holds:
            self.failures.append(failure)


def statuses(received: bytes) -> list[int]:
    return [int(status) for status in _STATUS.findall(received)]


def is_rejection(received: bytes) -> bool:
    found = statuses(received)
    return not found or (len(found) == 1 and (400 <= found[0] < 500 or found[0] in (501, 505)))


def malformed_protocol(target: Target, outcome: Outcome) -> None:
    """Malformed requests are rejected."""
    _send_all(target, outcome, MALFORMED_REQUESTS)


def smuggling(target: Target, outcome: Outcome) -> None:
    """No request that is hidden in another request reaches a Core."""
    head, smuggled = target.request(method=b"POST")[:-2], target.request(path=SMUGGLED_PATH)
    requests = [head + fields + b"\r\n\r\n" + body + smuggled for fields, body in FRAMING]
    _send_all(target, outcome, requests)
    reached = any(SMUGGLED_PATH in row.split(b"\n")[0] for row in target.received or ())
    outcome.check(not reached, "a hidden request reached the Core")


def ambiguous_paths(target: Target, outcome: Outcome) -> None:
    """Ambiguous paths are rejected and reach no Core."""
    before = list(target.received or ())
    paths = [path.replace(b"/docs", b"/" + target.core.encode(), 1) for path in AMBIGUOUS_PATHS]
    _send_all(target, outcome, [target.request(path=path) for path in paths])
    outcome.check(before == (target.received or []), "an ambiguous path reached the Core")


def spoofed_headers(target: Target, outcome: Outcome) -> None:
    """Ambiguous headers are rejected. A Core receives no header with which a client could pose as
    the gateway or as another client.
    """
    before = list(target.received or ())
    requests = [target.request(*headers) for headers, _ in AMBIGUOUS_HEADERS]
    requests += [target.request().replace(HOST, host) for host in INVALID_HOSTS]
    _send_all(target, outcome, requests)
    outcome.check(before == (target.received or []), "an ambiguous header reached the Core")
    if target.received is not None:
        requests = [target.request(f"{name}: forged-{name}") for name in SPOOFED_NAMES]
        _send_all(target, outcome, requests, lambda _: True)
        heads = b"".join(target.received)
        forged = [name for name in SPOOFED_NAMES if f"forged-{name}".encode() in heads]
        outcome.check(not forged, f"the Core received {', '.join(forged)} from a client")


def hostile_repositories(target: Target, outcome: Outcome) -> None:
    """`gatehouse scan` of a folder runs no program, neither one of the folder nor Git, and follows
    no symbolic link.
    """
    with TemporaryDirectory(prefix="gatehouse-") as name:
        folder = Path(name)
        repository, programs, ran = folder / "repository", folder / "bin", folder / "ran"
        program = f"#!{Path('/bin/sh').resolve()}\n: > '{ran}'\n"
        _hostile_repository(repository, program)
        programs.mkdir()
        for command in ("git", "less", "ssh", "sh", "bash"):
            _executable(programs / command, program)
        (folder / "outside").write_text("gtk_admin_" + "0" * 48)
        (repository / "link").symlink_to(folder / "outside")
        (repository / "links").symlink_to(folder)
        result = subprocess.run(
            [*target.scan, str(repository)],
            env={**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
            cwd=repository,
            capture_output=True,
            check=False,
            timeout=60,
        )
        outcome.check(not ran.exists(), "gatehouse scan runs a program")
        outcome.check(
            result.returncode == 0, f"gatehouse scan follows a link, or fails: {result.returncode}"
        )


#: Settings with which Git runs a program.
_GIT_CONFIG = """[core]
fsmonitor = {hook}
pager = {hook}
sshCommand = {hook}
gitProxy = {hook}
[filter "a"]
clean = {hook}
process = {hook}
[diff "a"]
textconv = {hook}
[diff]
external = {hook}
[credential]
helper = {hook}
"""


def _hostile_repository(repository: Path, program: str) -> None:
    """Create a repository for which Git runs a program."""
    git = repository / ".git"
    for folder in ("hooks", "objects", "refs/heads"):
        (git / folder).mkdir(parents=True)
    hook = git / "hooks" / "post-index-change"
    _executable(hook, program)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "config").write_text(_GIT_CONFIG.format(hook=hook))
    (repository / ".gitattributes").write_text("* filter=a diff=a\n")
    (repository / "file").write_text("text\n")


def _executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _send_all(
    target: Target,
    outcome: Outcome,
    requests: Iterable[bytes],
    holds: Callable[[bytes], bool] = is_rejection,
) -> None:
    requests = list(requests)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for raw, received in zip(requests, pool.map(target.send, requests), strict=True):
            shown = redacted(raw[:2_000].decode("latin-1"))[:150]
            outcome.check(holds(received), f"{shown!r} gets {statuses(received)}")


Attack: TypeAlias = Callable[[Target, Outcome], None]
ATTACKS: Final[tuple[Attack, ...]] = (
    malformed_protocol,
    smuggling,
    ambiguous_paths,
    spoofed_headers,
    hostile_repositories,
)


def attack(run: Attack, target: Target) -> Outcome:
    """Run an attack. Afterwards, the gateway must be healthy. Raises OSError if it cannot be
    reached.
    """
    outcome = Outcome(run.__name__.replace("_", " "))
    run(target, outcome)
    health = statuses(target.send(target.request(path=b"/healthz")))
    outcome.check(health == [200], f"{target.url} is not healthy")
    return outcome
