"""Coverage of the checks of other catalogues: four fifths for each catalogue, and a reason for every other check."""

import pytest

from tools.docs.upstream_coverage import REASONS, SERVICES, covered

CHECKS = {id for ids in SERVICES.values() for id in ids}


@pytest.mark.parametrize("checkov", [True, False], ids=["Checkov", "cdk-nag"])
def test_four_fifths_of_the_checks_are_covered(checkov: bool) -> None:
    checks = {id for id in CHECKS if id.startswith("CKV") is checkov}

    assert len(checks) > 50
    assert len(checks & covered()) / len(checks) >= 0.8


def test_every_other_check_has_a_reason() -> None:
    assert CHECKS - covered() == set(REASONS)
