"""Locks clients out that send wrong credentials."""

import hashlib
import math
from collections import OrderedDict
from dataclasses import dataclass, field

from gatehouse.core.clock import Clock
from gatehouse.core.http.addresses import network_of

#: Failures after which a client is locked out, and time in seconds from the first failure until the
#: lockout ends.
FAILURES_MAX, WINDOW_S = 10, 300

PAIRS_MAX = 10_000
OTHER = "other"


@dataclass(slots=True, eq=False)
class Lockout:
    """Locks out clients after failed authentications, for each pair of client address and
    principal.

    A lockout affects one client address (a /64 network for IPv6), so a client cannot lock out
    clients of other networks, and never a token that was accepted from this network before: it is
    no guess. Each console process keeps bounded counters in memory. Therefore, n processes allow n
    times as many attempts. This is not a risk for 256-bit secrets.

    principal: a key ID, `bootstrap`, or OTHER for all tokens in another format.
    """

    clock: Clock
    _failures: OrderedDict[tuple[str, str], tuple[float, int]] = field(default_factory=OrderedDict)
    #: Networks, and hashes of the tokens that were accepted from them.
    _accepted: OrderedDict[tuple[str, bytes], None] = field(default_factory=OrderedDict)

    def wait_s(self, address: str, principal: str, token: str) -> int:
        """Return the seconds until the lockout ends, or 0 if the client is not locked out."""
        network = network_of(address)
        started, count = self._failures.get((network, principal), (0.0, 0))
        remaining = started + WINDOW_S - self.clock.monotonic()
        if count < FAILURES_MAX or remaining <= 0 or (network, _digest(token)) in self._accepted:
            return 0
        return math.ceil(remaining)

    def failed(self, address: str, principal: str, token: str) -> None:
        network, now = network_of(address), self.clock.monotonic()
        self._accepted.pop((network, _digest(token)), None)
        started, count = self._failures.pop((network, principal), (now, 0))
        failures = (now, 1) if now - started >= WINDOW_S else (started, count + 1)
        self._failures[network, principal] = failures
        if len(self._failures) > PAIRS_MAX:
            self._failures.popitem(last=False)

    def succeeded(self, address: str, principal: str, token: str) -> None:
        network = network_of(address)
        accepted = network, _digest(token)
        self._accepted[accepted] = None
        self._accepted.move_to_end(accepted)
        if len(self._accepted) > PAIRS_MAX:
            self._accepted.popitem(last=False)
        if principal != OTHER:  # otherwise, the holder of one token could guess others
            self._failures.pop((network, principal), None)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
