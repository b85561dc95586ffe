"""Limits what a peer can make a process calculate with TLS: key exchanges, and records.

OpenSSL processes all KeyUpdate messages (RFC 8446, section 4.6.3) and handshakes of TLS 1.2 that
have been received when it reads. 64 KB of them take 80 ms, records of one byte 10 ms, and libuv
reads up to 32 times before it serves other connections.

Call `limit` with an SSLContext, `established` for a client, and `take_turns` with each connection.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from typing import Any, cast

#: Cipher suites of TLS 1.2: forward secrecy and authenticated encryption. All suites of TLS 1.3
#: have both. With DHE, the server chooses the prime, of which one with 10,000 bits takes 1 s.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

#: Maximum number of records without data in a handshake, and of those after it. One counts again
#: for each _RECORD_BYTES: a chain of 250 certificates, 100 KB, takes 60 ms, and 16 KB 20 ms.
_RECORDS_MAX = 64
_RECORD_BYTES = 256

#: Number of records that are processed before other connections are served.
_TURN_RECORDS = 32

#: Number of bytes to write at which a protocol pauses, as without TLS.
_WRITE_BYTES = 65_536

#: Size of the header of a record, which ends with the length of the record in two bytes.
_HEADER_BYTES = 5

#: Threads for handshakes of clients, and their niceness. A certificate of 415 bytes can take 250 ms
#: of CPU time, because OpenSSL reads elliptic curves that the server chooses before it verifies a
#: signature, and a chain of 16 KB takes 7 s. After a step of more than _COSTLY_S, the next one of
#: the URL waits for a multiple of its CPU time.
_THREADS, _NICENESS = 128, 15
_COSTLY_S, _WAIT_FACTOR = 0.1, 10


class LimitedTls(ssl.SSLObject):
    """Passes one record at a time to OpenSSL. Raises SSLError if too many contain no data.

    A Python that does not call the private method `_create` (3.7 to 3.14 do) limits nothing.
    """

    _incoming: ssl.MemoryBIO | None = None
    #: The records that OpenSSL reads.
    _records: ssl.MemoryBIO
    _header = b""
    #: Size of the current record, and bytes of it that have not been received.
    _size = _left = 0
    _without_data = 0
    _is_open = False
    #: Records since others were served, if further ones wait.
    _turn = 0
    transport: asyncio.Transport | None = None

    @classmethod
    def _create(cls, incoming: ssl.MemoryBIO, *arguments: Any, **options: Any) -> LimitedTls:
        records = ssl.MemoryBIO()
        tls: LimitedTls = super()._create(records, *arguments, **options)  # type: ignore[misc]
        tls._incoming, tls._records = incoming, records
        return tls

    def do_handshake(self) -> None:
        self._receive(super().do_handshake)
        self._without_data, self._is_open = 0, True

    def read(self, *arguments: Any) -> Any:
        if self._turn >= _TURN_RECORDS and self.transport is not None:
            raise ssl.SSLWantReadError
        return self._receive(super().read, *arguments)

    def unwrap(self) -> None:
        self._receive(super().unwrap)

    def _receive(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Calls a function of SSLObject with each further record, until it returns."""
        while True:
            is_received = self._incoming and not self.pending() and self._move(self._incoming)
            number = 1 + self._size // _RECORD_BYTES if is_received else 0
            self._check(0 if self._is_open else number)
            try:
                return function(*arguments)
            except ssl.SSLWantReadError:
                if not is_received:
                    raise
            self._without_data += number
            self._check(0)

    def _check(self, number: int) -> None:
        """Raises SSLError if this number of further records without data is too large."""
        if self._without_data + number > _RECORDS_MAX:
            raise ssl.SSLError("too many TLS records without data")

    def _move(self, incoming: ssl.MemoryBIO) -> bool:
        """Passes a record, or its received part, to OpenSSL. Returns True at its end."""
        part = b""
        if not self._left:
            self._header += incoming.read(_HEADER_BYTES - len(self._header))
            if len(self._header) < _HEADER_BYTES:
                return False
            part, self._header = self._header, b""
            self._size = self._left = int.from_bytes(part[3:])
        received = incoming.read(self._left)
        self._left -= len(received)
        self._records.write(part + received)
        self._turn = self._turn + 1 if incoming.pending and self._is_open else 0
        if self._turn == _TURN_RECORDS:
            asyncio.get_running_loop().call_soon(self._next_turn)
        return not self._left

    def _next_turn(self) -> None:
        self._turn, transport = 0, self.transport
        if transport is not None and transport.is_reading():
            transport.pause_reading()
            transport.resume_reading()  # schedules a read


def _begin_thread() -> None:
    with suppress(OSError):  # Linux has a priority for each thread
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


_threads = ThreadPoolExecutor(_THREADS, "tls", _begin_thread)


class _Established:
    """TLS after a handshake, which reads and writes the buffers of a transport."""

    def __init__(self, tls: LimitedTls, received: ssl.MemoryBIO, sent: ssl.MemoryBIO) -> None:
        self.tls, self._received, self._sent = tls, received, sent

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tls, name)

    def attach(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> _Established:
        incoming.write(self._received.read())
        self.tls._incoming, self._outgoing = incoming, outgoing  # noqa: SLF001
        return self

    def read(self, *arguments: Any) -> Any:
        return self._call(self.tls.read, *arguments)

    def write(self, data: Any) -> int:
        return int(self._call(self.tls.write, data))

    def unwrap(self) -> None:
        self._call(self.tls.unwrap)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        finally:
            if self._sent.pending:
                self._outgoing.write(self._sent.read())


class _EstablishedContext(ssl.SSLContext):
    """The context with which a transport uses an established connection."""

    established: _Established

    def wrap_bio(self, *arguments: Any, **_: Any) -> Any:
        return self.established.attach(*arguments)


async def established(
    sock: socket.socket,
    context: ssl.SSLContext,
    host: str,
    url: asyncio.Semaphore,
    subject: asyncio.Semaphore,
) -> ssl.SSLContext:
    """Performs the handshake of a client in other threads. url and subject limit the steps in
    progress; that of the URL is held for longer after a costly one. Returns the context for
    `create_connection`. Raises OSError. Without `_create`, see LimitedTls, the transport performs
    the handshake.
    """
    loop = asyncio.get_running_loop()
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(received, sent, server_hostname=host)
    if not isinstance(tls, LimitedTls) or tls._incoming is None:  # noqa: SLF001
        return context

    def release(step: asyncio.Future[tuple[OSError | None, float]]) -> None:
        _, cpu_s = step.result()
        subject.release()
        loop.call_later(_WAIT_FACTOR * cpu_s if cpu_s > _COSTLY_S else 0, url.release)

    for _ in range(_RECORDS_MAX):
        async with AsyncExitStack() as held:
            for each in (url, subject):
                await held.enter_async_context(each)
            step = loop.run_in_executor(_threads, _step, tls)
            step.add_done_callback(release)
            held.pop_all()
        error, _ = await asyncio.shield(step)
        await loop.sock_sendall(sock, sent.read())
        if error is None:
            result = _EstablishedContext(ssl.PROTOCOL_TLS_CLIENT)
            result.established = _Established(tls, received, sent)
            return result
        if not isinstance(error, ssl.SSLWantReadError):
            try:
                raise error
            finally:
                del error, step  # refer to this frame
        data = await loop.sock_recv(sock, 16_384)
        if not data:
            raise ConnectionResetError
        received.write(data)
    raise ssl.SSLError("too many parts of a TLS handshake")


def _step(tls: ssl.SSLObject) -> tuple[OSError | None, float]:
    """The error of a step of a handshake, and the CPU time of the step in seconds."""
    started, error = time.thread_time(), None
    try:
        tls.do_handshake()
    except OSError as exc:
        error = exc.with_traceback(None)
    return error, time.thread_time() - started


def limit(context: ssl.SSLContext) -> None:
    """Requires TLS 1.2 or 1.3 without renegotiation, a key exchange that takes at most 10 ms, and
    HTTP/1.1.
    """
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_ciphers(_CIPHERS)
    if ssl.OPENSSL_VERSION_INFO < (3, 5):  # also has ffdhe8192, which takes 130 ms
        context.set_ecdh_curve("prime256v1")
    context.set_alpn_protocols(["http/1.1"])
    context.sslobject_class = LimitedTls


def take_turns(transport: asyncio.BaseTransport) -> None:
    """Lets other connections be served between the records of a connection, and limits its buffers.
    Call `end_turns` when it is lost.
    """
    tls = _tls_of(transport)
    if isinstance(tls, LimitedTls):
        tls.transport = cast("asyncio.Transport", transport)
        tls.transport.set_write_buffer_limits(_WRITE_BYTES)
        # No end of the connection is read before the records that wait.
        cast("Any", transport).set_read_buffer_limits(1)


def end_turns(transport: asyncio.BaseTransport) -> None:
    """Removes the reference to the connection, so that it is freed without garbage collection."""
    tls = _tls_of(transport)
    if isinstance(tls, LimitedTls):
        tls.transport = None


def _tls_of(transport: asyncio.BaseTransport) -> object:
    tls = transport.get_extra_info("ssl_object")
    return getattr(tls, "tls", tls)
