"""The decision on a key: facts in, one code out; it looks nothing up and knows no clock.

Checks are made in the order of `types.Code` and the first that fails answers. Whoever does not prove possession of a known
key learns nothing: malformed, unknown, wrong secret and (for the public) revoked look the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gatehouse.types import Code, KeyEnvironment, KeyRecord, KeyState, LimitState, Question, Verdict

#: Compared with when no key has the id, so that an unknown id costs the same work as a wrong secret.
DUMMY_DIGEST = bytes(32)


def judge(record: KeyRecord | None, question: Question, *, possession: bool, environment: KeyEnvironment, now: float) -> Code:
    """Every check that needs no counter. VALID means: ask the limits next.

    `possession`: the digest of the presented token equals the record's. `environment`: what this deployment serves.
    A key that expires at second t is refused from t on. Scopes are compared as whole names; there are no wildcards.
    """
    if record is None or not possession:
        return Code.NOT_FOUND
    if record.state is KeyState.REVOKED:
        return Code.REVOKED
    if record.state is not KeyState.ACTIVE:
        return Code.DISABLED
    if record.expires_at is not None and now >= record.expires_at:
        return Code.EXPIRED
    if record.environment is not environment:
        return Code.FORBIDDEN
    if question.core is not None and record.cores and question.core not in record.cores:
        return Code.FORBIDDEN
    if any(scope not in record.scopes for scope in question.scopes):
        return Code.INSUFFICIENT_PERMISSIONS
    return Code.VALID


def judge_limits(states: Sequence[LimitState]) -> Code:
    """The last check: VALID unless a limit is exceeded."""
    return Code.RATE_LIMITED if any(state.exceeded for state in states) else Code.VALID


def for_public(verdict: Verdict) -> Verdict:
    """What the holder of the token may read: a revoked key looks as if it had never been."""
    if verdict.code is not Code.REVOKED:
        return verdict
    return msgspec.structs.replace(verdict, code=Code.NOT_FOUND, record=None, limits=())
