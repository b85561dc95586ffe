"""Page cursors: opaque, bound to their list and filter, and authenticated with an HMAC."""

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
    """Cursors of one list with one filter. `scope` identifies both, such as `keys?owner=a`."""

    def __init__(self, pepper: Pepper, scope: str) -> None:
        self._pepper = pepper
        self._scope = hashlib.sha256(scope.encode("utf-8", "surrogatepass")).hexdigest()

    def write(self, position: str) -> str:
        """URL-safe cursor of `position`. Raises ValueError if the current session key is not available."""
        payload = json.dumps([self._pepper.current, position], separators=(",", ":")).encode("ascii")
        mac = self._mac(payload, self._pepper.current)
        if mac is None:
            raise ValueError("the current generation of the session key is not available")
        return base64.urlsafe_b64encode(mac + payload).rstrip(b"=").decode("ascii")

    def read(self, cursor: str) -> str:
        """Position of a cursor. Raises BadRequest if the cursor is invalid or belongs to another list or filter."""
        try:
            raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            mac, payload = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
            generation, position = json.loads(payload)
            expected = self._mac(payload, generation) if isinstance(generation, int) else None
        except (ValueError, TypeError, UnicodeError, binascii.Error, RecursionError):
            raise _invalid_cursor() from None
        if expected is None or not hmac.compare_digest(mac, expected) or not isinstance(position, str):
            raise _invalid_cursor()
        return position

    def _mac(self, payload: bytes, generation: int) -> bytes | None:
        digest = self._pepper.digest(f"console-cursor:{self._scope}:{payload.hex()}", generation)
        return None if digest is None else digest[:_MAC_BYTES]


def _invalid_cursor() -> BadRequest:
    problem = Problem("query.cursor", "is not a cursor of this list", "send next_cursor of the page before, with the same filter")
    return BadRequest("The cursor cannot be used", errors=(problem,))
