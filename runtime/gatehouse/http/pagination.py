"""Page cursors: opaque, bound to the list and the filter that they came from, and signed, so that nobody can make one up."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json

from gatehouse.crypto.token import Pepper
from gatehouse.errors import BadRequest, Problem

_MAC_BYTES = 16


class Cursors:
    """The cursors of one list with one filter. `scope` is text that names both, such as `keys?owner=a`."""

    def __init__(self, pepper: Pepper, scope: str) -> None:
        self._pepper = pepper
        self._scope = hashlib.sha256(scope.encode("utf-8", "surrogatepass")).hexdigest()

    def write(self, position: str) -> str:
        """The cursor behind `position`, URL-safe."""
        payload = json.dumps([self._pepper.current, position], separators=(",", ":")).encode("ascii")
        mac = self._mac(payload, self._pepper.current)
        if mac is None:
            raise ValueError("the current generation of the session key is not held")
        return base64.urlsafe_b64encode(mac + payload).rstrip(b"=").decode("ascii")

    def read(self, cursor: str) -> str:
        """The position in a cursor of ours. Raises BadRequest for anything else."""
        try:
            raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            mac, payload = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
            generation, position = json.loads(payload)
            expected = self._mac(payload, generation) if isinstance(generation, int) else None
        except (ValueError, TypeError, UnicodeError, binascii.Error, RecursionError):
            raise _foreign() from None
        if expected is None or not hmac.compare_digest(mac, expected) or not isinstance(position, str):
            raise _foreign()
        return position

    def _mac(self, payload: bytes, generation: int) -> bytes | None:
        digest = self._pepper.digest(f"console-cursor:{self._scope}:{payload.hex()}", generation)
        return None if digest is None else digest[:_MAC_BYTES]


def _foreign() -> BadRequest:
    problem = Problem("query.cursor", "is not a cursor of this list", "send next_cursor of the page before, with the same filter")
    return BadRequest("The cursor cannot be used", errors=(problem,))
