"""Limits the TLS records of a peer that contain no data.

OpenSSL processes all KeyUpdate messages (RFC 8446, section 4.6.3) and handshakes of TLS 1.2 that
have been received when it reads. 64 KB of them take 80 ms, and libuv reads up to 32 times before it
serves other connections. Set `sslobject_class` of an SSLContext to `LimitedTls`.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

#: Maximum number of records without data in a handshake, and of those after it.
_RECORDS_MAX = 64

#: Size of the header of a record, which ends with the length of the record in two bytes.
_HEADER_BYTES = 5


class LimitedTls(ssl.SSLObject):
    """Passes one record at a time to OpenSSL. Raises SSLError if too many contain no data.

    A Python that does not call the private method `_create` (3.7 to 3.14 do) limits nothing.
    """

    _incoming: ssl.MemoryBIO | None = None
    #: The records that OpenSSL reads.
    _records: ssl.MemoryBIO
    _header = b""
    #: Bytes of the current record that have not been received.
    _left = 0
    _without_data = 0

    @classmethod
    def _create(cls, incoming: ssl.MemoryBIO, *arguments: Any, **options: Any) -> LimitedTls:
        records = ssl.MemoryBIO()
        tls: LimitedTls = super()._create(records, *arguments, **options)  # type: ignore[misc]
        tls._incoming, tls._records = incoming, records
        return tls

    def do_handshake(self) -> None:
        self._receive(super().do_handshake)
        self._without_data = 0

    def read(self, *arguments: Any) -> Any:
        return self._receive(super().read, *arguments)

    def unwrap(self) -> None:
        self._receive(super().unwrap)

    def _receive(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Calls a function of SSLObject with each further record, until it returns."""
        while True:
            is_received = self._incoming and not self.pending() and self._move(self._incoming)
            try:
                return function(*arguments)
            except ssl.SSLWantReadError:
                if not is_received:
                    raise
            self._without_data += 1
            if self._without_data > _RECORDS_MAX:
                raise ssl.SSLError("too many TLS records without data")

    def _move(self, incoming: ssl.MemoryBIO) -> bool:
        """Passes a record, or its received part, to OpenSSL. Returns True at its end."""
        part = b""
        if not self._left:
            self._header += incoming.read(_HEADER_BYTES - len(self._header))
            if len(self._header) < _HEADER_BYTES:
                return False
            part, self._header = self._header, b""
            self._left = int.from_bytes(part[3:])
        received = incoming.read(self._left)
        self._left -= len(received)
        self._records.write(part + received)
        return not self._left
