"""The work of a denial."""

from dataclasses import replace
from unittest.mock import AsyncMock

import pytest
from gatehouse.core.imported_tokens import ImportedKeyIds, imported_key_id, material
from gatehouse.core.token import Pepper, build, checksum
from gatehouse.core.verification import Code
from gatehouse.features.verification.cache import Prefilter

from tests.runtime.services.test_decision_rows import PEPPER, REQUEST, TEST, service_with

SECRET = bytes(reversed(range(32)))


class CountingPepper(Pepper):
    def __init__(self, generations: int = 1) -> None:
        super().__init__(
            {number: bytes([number - 1] * 32) for number in range(1, generations + 1)}, 1
        )
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


async def test_guess_of_an_imported_token_computes_two_hmacs_per_generation() -> None:
    service, pepper = service_with("team-a")[0], CountingPepper(generations=50)
    imported = ImportedKeyIds(pepper)
    for generation in pepper.generations:
        imported.add("sha256", generation)
        service.keys.cache.end_load(
            imported_key_id(material("wrong-token"), pepper, generation), None
        )
    service.keys.plausible, pepper.count = Prefilter(pepper).plausible, 0

    imported_ids = AsyncMock(return_value=imported)
    finder = replace(service.finder, pepper=pepper, imported_ids=imported_ids)
    assert (
        await replace(service, finder=finder).verify("wrong-token", REQUEST)
    ).code is Code.NOT_FOUND
    assert pepper.count <= 2 * 50 + 1
