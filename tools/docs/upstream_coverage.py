"""Coverage of the checks of other catalogues (docs/policy-coverage.md)."""

import hashlib
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from policies.catalogue import RULES
from policies.engine.rule import upstream_ids
from tools.docs.markdown import table


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((Path(__file__).parent / name).read_text(encoding="utf-8"))


_DATA = _read("upstream_coverage.toml")
SERVICES: dict[str, list[str]] = {service: ids.split() for service, ids in _DATA["services"].items()}
REASONS: dict[str, str] = _DATA["reasons"]
"""The reason for each check that no rule covers."""
SAMPLES: list[dict[str, Any]] = _DATA["sample"]
"""Results of random samples of checks, with the reason for each one whose violating resource no rule reported."""
VERIFICATION: dict[str, Any] = _read("upstream_verification.toml")
"""For each catalogue, how the claims of the rules were verified. The file describes the keys."""


def claims(catalogue: str) -> list[tuple[str, str]]:
    """The IDs of the catalogue, each with a rule that names it."""
    return sorted((id, rule.id) for rule in RULES for id in upstream_ids(rule.upstream)[catalogue])


def checksum(catalogue: str) -> str:
    """Twelve hexadecimal digits that identify the claims of a catalogue."""
    text = " ".join(f"{id}:{rule}" for id, rule in claims(catalogue))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


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
        f"{services}\n\n## Checks that are not covered\n\n{reasons}\n\n{_samples()}\n\n{_verification()}\n"
    )


def _verification() -> str:
    names = [name for name in VERIFICATION if name != "date"]
    columns = ("catalogue", "source", "IDs", "run", "read", "corrected", "removed")
    rows = [_verified(name, VERIFICATION[name]) for name in names]
    removed = (", ".join(f"`{id}`" for id in VERIFICATION[name].get("removed", "").split()) or "none" for name in names)
    return (
        f"## Verification of the upstream IDs\n\nOn {VERIFICATION['date']}, every ID of another catalogue that a rule names was "
        "compared with its definition. For each ID, a program of the tests violates the rule, and the check with this ID reports "
        "the program. *Run*: the check was run on the program, and on a compliant form of it, which it accepts. *Read*: the "
        "properties that the check reads were compared with the program. *Corrected*: the ID belonged to another program or rule "
        "before. *Removed*: no program violates both the rule and the check, the check reports compliant programs as well, or "
        "its definition was not available. A rule can report less than a check that it names.\n\n"
        f"{table(columns, rows)}\n\nRemoved IDs:\n\n{table(('catalogue', 'IDs'), zip(names, removed, strict=True))}"
    )


def _verified(name: str, data: dict[str, Any]) -> tuple[str, ...]:
    ids = {id for id, _ in claims(name)}
    exceptions = len(data.get("exceptions", "").split())
    by_method = {data["method"]: len(ids) - exceptions}
    run = by_method.get("run", exceptions)
    removed = len(data.get("removed", "").split())
    return name, data["source"], str(len(ids)), str(run), str(len(ids) - run), str(data["corrected"]), str(removed)


def _samples() -> str:
    first, *others = map(_sample, SAMPLES)
    return "\n\n".join(("## Random samples", f"The table above counts the IDs that the rules name. {first}", *others))


def _sample(sample: dict[str, Any]) -> str:
    drawn, reported = sample["drawn"], sample["reported"]
    extended = sample.get("extended", reported)
    share = 100 * extended // drawn
    after = f" After the rules were extended, they reported {extended} ({share} percent)." if extended > reported else ""
    missed = table(("check", "reason"), ((f"`{id}`", reason) for id, reason in sorted(sample["missed"].items())))
    return (
        f"On {sample['date']}, {drawn} of {sample['drawn_from']} checks of "
        f"both catalogues for API Gateway and the services above were drawn at random (seed {sample['seed']}), a violating "
        f"resource was written for each one, and the rules evaluated it with the levels of prod. They reported {reported} "
        f"({100 * reported // drawn} percent).{after}\n\n{missed}"
    )


def _rows(known: set[str]) -> Iterator[tuple[str, ...]]:
    for service, ids in SERVICES.items():
        missing = [f"`{id}`" for id in ids if id not in known]
        yield service, str(len(ids)), str(len(ids) - len(missing)), ", ".join(missing) or "none"
