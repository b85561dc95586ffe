"""Coverage of the checks of other catalogues (.gatehouse/docs/policy-coverage.md)."""

import hashlib
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gatehouse_policies.catalogue import RULES
from gatehouse_policies.engine.rule import upstream_ids

from tools.docs.markdown import table


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((Path(__file__).parent / name).read_text(encoding="utf-8"))


_DATA = _read("upstream_coverage.toml")
SERVICES: dict[str, list[str]] = {
    service: ids.split() for service, ids in _DATA["services"].items()
}
REASONS: dict[str, str] = _DATA["reasons"]
"""The reason for each check that no rule covers."""
PARTLY: dict[str, str] = _DATA["partly"]
"""What differs, for each covered check that reports more resources than the rule that names it."""
SAMPLES: list[dict[str, Any]] = _DATA["sample"]
"""Results of random samples of checks."""
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
    """The share of covered checks for each service and catalogue, and a reason for every other
    check.
    """
    known = covered()
    checks = [id for ids in SERVICES.values() for id in ids]
    sources = {
        name: [id for id in checks if id.startswith("CKV") is (name == "Checkov")]
        for name in ("Checkov", "cdk-nag")
    }
    by_source = " and ".join(f"{_share(ids, known)} of {name}" for name, ids in sources.items())
    services = table(("service", "checks", "covered", "not covered"), _rows(known))
    return (
        "# Coverage of other catalogues\n\n"
        "All checks of Checkov (2026-08-20) and of the cdk-nag pack AwsSolutions (2026-06-29) "
        "for the services below. "
        f"The rules cover {_share(checks, known)}: {by_source}. A check is covered if a rule "
        f"names it, and a program of the "
        "tests violates both. IDs with capital letters and a number, such as `EC26`, are rules "
        "of cdk-nag.\n\n"
        f"{services}\n\n## Checks that are not covered\n\n{_reasons(REASONS)}\n\n"
        "## Covered checks that report more resources than the rule\n\nThe cases that are "
        "known:\n\n"
        f"{_reasons(PARTLY)}\n\n{_samples()}\n\n{_verification()}\n"
    )


def _share(ids: list[str], known: set[str]) -> str:
    count = len(known.intersection(ids))
    return f"{count} of {len(ids)} checks ({100 * count // len(ids)} percent)"


def _reasons(reasons: dict[str, str]) -> str:
    return table(
        ("check", "reason"), ((f"`{id}`", reason) for id, reason in sorted(reasons.items()))
    )


def _verification() -> str:
    names = [name for name in VERIFICATION if name != "date"]
    columns = ("catalogue", "source", "IDs", "run", "read", "corrected", "removed")
    rows = [_verified(name, VERIFICATION[name]) for name in names]
    removed = (
        ", ".join(f"`{id}`" for id in VERIFICATION[name].get("removed", "").split()) or "none"
        for name in names
    )
    return (
        f"## Verification of the upstream IDs\n\nOn {VERIFICATION['date']}, every ID of "
        f"another catalogue that a rule names was "
        "compared with its definition. For each ID, a program of the tests violates the rule, "
        "and the check with this ID reports "
        "the program. *Run*: the check was run on the program, and on a compliant form of it, "
        "which it accepts. *Read*: the "
        "properties that the check reads were compared with the program. *Corrected*: the ID "
        "belonged to another program or rule "
        "before. *Removed*: no program violates both the rule and the check, the check reports "
        "compliant programs as well, or "
        "its definition was not available. A rule can report less than a check that it names.\n\n"
        f"{table(columns, rows)}\n\nRemoved "
        f"IDs:\n\n{table(('catalogue', 'IDs'), zip(names, removed, strict=True))}"
    )


def _verified(name: str, data: dict[str, Any]) -> tuple[str, ...]:
    ids = {id for id, _ in claims(name)}
    exceptions = len(data.get("exceptions", "").split())
    by_method = {data["method"]: len(ids) - exceptions}
    run = by_method.get("run", exceptions)
    removed = len(data.get("removed", "").split())
    return (
        name,
        data["source"],
        str(len(ids)),
        str(run),
        str(len(ids) - run),
        str(data["corrected"]),
        str(removed),
    )


def _samples() -> str:
    columns = ("date", "seed", "checks", "reported", "after the rules were extended")
    return (
        "## Random samples\n\nBefore all checks were compared, checks were drawn at random, a "
        "violating resource was written for "
        "each one from its definition, and the rules evaluated it with the levels of prod.\n\n"
        f"{table(columns, map(_sample, SAMPLES))}"
    )


def _sample(sample: dict[str, Any]) -> tuple[str, ...]:
    drawn, reported = sample["drawn"], sample["reported"]
    extended = sample.get("extended", reported)
    counts = (f"{count} ({100 * count // drawn} percent)" for count in (reported, extended))
    return sample["date"], str(sample["seed"]), str(drawn), *counts


def _rows(known: set[str]) -> Iterator[tuple[str, ...]]:
    for service, ids in SERVICES.items():
        missing = [f"`{id}`" for id in ids if id not in known]
        yield service, str(len(ids)), str(len(ids) - len(missing)), ", ".join(missing) or "none"
