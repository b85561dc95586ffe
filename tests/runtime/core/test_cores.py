"""The lease of a registered instance."""

import msgspec
import pytest
from gatehouse.core.cores import ENDED_OF_CORE_S

from tests.runtime.core_records import instance

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("left_s", "draining", "is_live", "has_ended"),
    [
        (1, False, True, False),
        (0, False, False, False),
        (1 - ENDED_OF_CORE_S, False, False, False),
        (-ENDED_OF_CORE_S, False, False, True),
        (1, True, False, False),
        (0, True, False, True),
    ],
)
def test_streams_outlive_a_lease_that_was_not_drained(
    left_s: float, *, draining: bool, is_live: bool, has_ended: bool
) -> None:
    core = msgspec.structs.replace(instance("a"), expires_at=NOW + left_s, draining=draining)
    assert (core.is_live(NOW), core.has_ended(NOW)) == (is_live, has_ended)
