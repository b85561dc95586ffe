"""Checks of other catalogues: four fifths are covered, every other check has a reason, and every
claim of a rule was verified.
"""

import pytest
from gatehouse_policies.engine.rule import upstream_ids

from tools.docs.upstream_coverage import (
    PARTLY,
    REASONS,
    SERVICES,
    VERIFICATION,
    checksum,
    claims,
    covered,
)

CHECKS = {id for ids in SERVICES.values() for id in ids}


@pytest.mark.parametrize("checkov", [True, False], ids=["Checkov", "cdk-nag"])
def test_four_fifths_of_the_checks_are_covered(checkov: bool) -> None:
    checks = {id for id in CHECKS if id.startswith("CKV") is checkov}

    assert len(checks) > 50
    assert len(checks & covered()) / len(checks) >= 0.8


def test_every_other_check_has_a_reason() -> None:
    assert CHECKS - covered() == set(REASONS)
    assert set(PARTLY) <= CHECKS & covered()


@pytest.mark.parametrize("catalogue", upstream_ids(""))
def test_every_upstream_id_was_verified(catalogue: str) -> None:
    verified = VERIFICATION[catalogue]
    claimed = {id.removeprefix("CIS ") for id, _ in claims(catalogue)}

    assert verified["method"] in ("run", "read")
    assert set(verified.get("exceptions", "").split()) <= claimed
    assert not set(verified.get("removed", "").split()) & claimed
    assert checksum(catalogue) == verified["checksum"], (
        "verify the new claims: tools/docs/upstream_verification.toml"
    )
