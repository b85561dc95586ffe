"""Creates request IDs, and reads the time in them."""

import random
import time

from gatehouse.core.actor import RequestId


def request_id(end: str = "") -> RequestId:
    """Request ID, sortable by time: 44 bits of the time in milliseconds, and 60 random bits. A
    request ID is not secret, so the random bits are not cryptographically secure. end: its last
    hexadecimal digits.
    """
    number = time.time_ns() // 1_000_000 << 60 | random.getrandbits(60)
    text = "req_" + number.to_bytes(13).hex()
    return text[: -len(end)] + end if end else text  # type: ignore[return-value]  # calling RequestId takes longer


def requested_at(request_id: str) -> int:
    """Time in Unix milliseconds that `request_id` wrote into an ID."""
    return int(request_id[4:], 16) >> 60
