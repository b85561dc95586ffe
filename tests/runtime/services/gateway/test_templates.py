"""Templates of the responses to keys: their number is bounded."""

from __future__ import annotations

import msgspec
import pytest
from gatehouse.core import gcra
from gatehouse.core.keys import KeyId, RateLimit
from gatehouse.core.verification import Code, VerificationResult
from gatehouse.services.gateway.synchronous import KEYS_MAX, _Templates

from tests.runtime.features.verification.conftest import RECORD

LIMITS = (RateLimit(name="requests", quota=5, window_s=60, burst=5),)


@pytest.mark.bound("gateway.synchronous:KEYS_MAX")
def test_oldest_template_is_removed() -> None:
    templates, states = (
        _Templates(has_body=True),
        gcra.report(LIMITS, (0.0,), 1),
    )
    records = [
        msgspec.structs.replace(RECORD, id=KeyId(f"{number:012d}"))
        for number in range(KEYS_MAX + 1)
    ]

    def has_template(number: int) -> bool:
        result = VerificationResult(Code.VALID, 1_800_000_000.0, 0, records[number], states)
        return templates.find(result) is not None

    # A template is made at the second use.
    assert [has_template(0), has_template(0)] == [
        False,
        True,
    ]
    assert not any(has_template(number) for number in range(1, KEYS_MAX))
    assert has_template(0)
    assert [has_template(KEYS_MAX), has_template(KEYS_MAX)] == [False, True]
    assert not has_template(0)
