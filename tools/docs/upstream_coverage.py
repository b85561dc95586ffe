"""Coverage of the checks of other catalogues (docs/policy-coverage.md)."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from policies.catalogue import RULES
from tools.docs.markdown import table

_DATA = tomllib.loads((Path(__file__).parent / "upstream_coverage.toml").read_text(encoding="utf-8"))
SERVICES: dict[str, list[str]] = {service: ids.split() for service, ids in _DATA["services"].items()}
REASONS: dict[str, str] = _DATA["reasons"]
"""The reason for each check that no rule covers."""
SAMPLE: dict[str, Any] = _DATA["sample"]
"""Result of a random sample of checks, with the reason for each one whose violating resource no rule reported."""


def covered() -> set[str]:
    """The upstream IDs that the rules name."""
    return {id for rule in RULES for id in rule.upstream_ids()}


def page() -> str:
    """The share of covered checks for each service, and a reason for every other check."""
    known = covered()
    total = sum(map(len, SERVICES.values()))
    count = sum(id in known for ids in SERVICES.values() for id in ids)
    services = table(("service", "checks", "covered", "not covered"), _rows(known))
    reasons = table(("check", "reason"), ((f"`{id}`", reason) for id, reason in sorted(REASONS.items())))
    return (
        "# Coverage of other catalogues\n\n"
        "Checks of Checkov (2026-08-20) and of the cdk-nag pack AwsSolutions (2026-06-29) for services that are used most. "
        f"The rules cover {count} of {total} checks ({100 * count // total} percent). "
        "IDs with capital letters and a number, such as `EC26`, are rules of cdk-nag.\n\n"
        f"{services}\n\n## Checks that are not covered\n\n{reasons}\n\n{_sample()}\n"
    )


def _sample() -> str:
    drawn, reported = SAMPLE["drawn"], SAMPLE["reported"]
    missed = table(("check", "reason"), ((f"`{id}`", reason) for id, reason in sorted(SAMPLE["missed"].items())))
    return (
        "## Random sample\n\n"
        f"The table above counts the IDs that the rules name. On {SAMPLE['date']}, {drawn} of {SAMPLE['drawn_from']} checks of "
        f"both catalogues for API Gateway and the services above were drawn at random (seed {SAMPLE['seed']}), a violating "
        f"resource was written for each one, and the rules evaluated it with the levels of prod. They reported {reported} "
        f"({100 * reported // drawn} percent).\n\n{missed}"
    )


def _rows(known: set[str]) -> Iterator[tuple[str, ...]]:
    for service, ids in SERVICES.items():
        missing = [f"`{id}`" for id in ids if id not in known]
        yield service, str(len(ids)), str(len(ids) - len(missing)), ", ".join(missing) or "none"
