"""RateLimit, RateLimit-Policy and Retry-After: the headers of a response about the rate limits and
the credits of a key.
"""

import math
import re
from collections.abc import Sequence
from functools import lru_cache

from gatehouse.core.clock import rfc3339
from gatehouse.core.keys import RateLimit
from gatehouse.core.verification import Code, RateLimitState, VerificationResult

#: RFC 9651, section 3.3.3: a String contains visible ASCII and spaces.
_FIELD_STRING = re.compile(r"[ !#-\[\]-~]*")


def result_headers(result: VerificationResult) -> list[tuple[bytes, bytes]]:
    """The headers of a decision: those of the rate limits, and Retry-After. Without those of the
    limits if the credits are used up, because they say that more requests are allowed.
    """
    if result.code is not Code.USAGE_EXCEEDED:
        return limit_headers(result.limits)
    return [(b"retry-after", b"%d" % refill(result)[1])] if refill(result)[0] else []


def refill(result: VerificationResult) -> tuple[str, int]:
    """Time of the next refill, and seconds until then. Empty if the credits are not refilled."""
    times = [
        credits.refills_at
        for credits in (result.credits, result.shared_credits)
        if credits is not None and credits.exceeded
    ]
    known = [time for time in times if time is not None]
    if not known or len(known) < len(times):
        return "", 1
    refills_at = max(known)
    return rfc3339(refills_at, "milliseconds"), max(1, math.ceil(refills_at - result.decided_at))


def limit_headers(states: Sequence[RateLimitState]) -> list[tuple[bytes, bytes]]:
    """RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10), and Retry-After if
    a limit is exceeded.

    `t` of an exceeded limit is the time until the next request is allowed, the same as in
    Retry-After.
    """
    policies, current, delays_s = [], [], []
    for state in states:
        policy = _policy(state.limit)
        seconds = state.reset_s
        if state.exceeded:
            seconds = state.retry_after_s
            delays_s.append(seconds)
        if policy is not None:
            policies.append(policy[1])
            current.append(f"{policy[0]};r={state.remaining};t={math.ceil(seconds)}")
    headers = []
    if policies:
        headers.append((b"ratelimit-policy", ", ".join(policies).encode()))
        headers.append((b"ratelimit", ", ".join(current).encode()))
    if delays_s:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(max(delays_s)))))
    return headers


@lru_cache(maxsize=1_000)  # many keys have the same limits
def _policy(limit: RateLimit) -> tuple[str, str] | None:
    """The name of a limit as a String (RFC 9651), and its policy. None if the name cannot be a
    String.
    """
    if _FIELD_STRING.fullmatch(limit.name) is None:
        return None
    name = f'"{limit.name}"'
    return name, f"{name};q={limit.quota};w={limit.window_s}"
