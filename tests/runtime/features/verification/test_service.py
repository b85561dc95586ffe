"""The work of a denial is the same for unknown keys."""

from dataclasses import replace

import pytest
from gatehouse.core.token import Pepper, build, checksum
from gatehouse.core.verification import Code
from gatehouse.features.verification.cache import Prefilter

from tests.runtime.services.test_decision_rows import PEPPER, REQUEST, TEST, service_with

SECRET = bytes(reversed(range(32)))


class CountingPepper(Pepper):
    def __init__(self) -> None:
        super().__init__({1: bytes(32)}, 1)
        self.count = 0

    def hmac(self, text: str, generation: int | None = None) -> bytes:
        self.count += 1
        return super().hmac(text, generation)


@pytest.mark.parametrize("is_issued", [True, False])
async def test_denial_computes_two_hmacs(*, is_issued: bool) -> None:
    service, _, record = service_with("team-a")
    wrong = build("gtk", TEST, bytes(12), SECRET, pepper=PEPPER, generation=1).text
    if not is_issued:
        head = wrong[:-6].replace(record.id, "0123456789ab")
        wrong = head + checksum(head)
    pepper = CountingPepper()
    service.keys.plausible = Prefilter(pepper).plausible
    service = replace(service, finder=replace(service.finder, pepper=pepper))
    assert (await service.verify(wrong, REQUEST)).code is Code.NOT_FOUND
    assert pepper.count == 2
