"""Exemptions of resources from controls, with owner, reason, ticket and expiry date."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from gatehouse_policies.engine.meta_policies import META_POLICIES

PREFIX = "GH-"
"""Of the controls of the packs security and resilience."""
DAYS_MAX = 90
TOTAL_DAYS_MAX = 180
REASON_WORDS_MIN = 4
_META_POLICIES = frozenset(policy.id for policy in META_POLICIES)
_WORD = re.compile(r"[^\W\d_]{2,}")
_WILDCARD = re.compile(r"\[!?\]?[^\]]*\]|[*?]")
_OPTIONAL_KEYS = ("first_created", "renewed_by")
_KEYS = ("control", "urn", "owner", "reason", "ticket", "created", "expires")


@dataclass(frozen=True)
class Exemption:
    """A valid entry. number: position in the file, from 1."""

    number: int
    control: str
    urn: str
    owner: str
    reason: str
    ticket: str
    created: date
    expires: date

    def covers(self, control: str, urn: str) -> bool:
        """True if the entry exempts this resource from this control. `*` in the last part of the
        entry's URN matches characters of the name only.
        """
        parts = zip(urn.rpartition("::"), self.urn.rpartition("::"), strict=True)
        return control == self.control and all(fnmatchcase(*part) for part in parts)

    def applies_to_stack(self, urn: str) -> bool:
        """True unless the entry's URN names another stack or project than the URN of a resource."""
        parts = zip(urn.split("::")[:2], self.urn.split("::")[:-1], strict=False)
        return all(fnmatchcase(part, pattern) or "*" in pattern for part, pattern in parts)


@dataclass(frozen=True)
class Exemptions:
    """The valid entries, and an error for each invalid entry: the control or "", and a message with
    the fix.
    """

    active: tuple[Exemption, ...] = ()
    errors: tuple[tuple[str, str], ...] = ()

    def find(self, control: str, urn: str) -> Exemption | None:
        return next((entry for entry in self.active if entry.covers(control, urn)), None)


def load(path: Path, today: date, exemptible: Mapping[str, bool]) -> Exemptions:
    """Reads the file, which can also be a configuration file. Returns no exemptions if the file
    does not exist, and an error if it cannot be read.

    exemptible: for each known control, whether it allows exemptions. Entries of controls of other
        packs are not read.
    """
    if not path.exists():
        return Exemptions()
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        text = f"{path.name} cannot be read ({type(error).__name__}). Fix: make it valid TOML"
        return Exemptions(errors=(("", text),))
    entries = raw.get("exemption", [])
    if (raw and not entries) or not isinstance(entries, list):
        text = f"{path.name} has no [[exemption]]. Fix: write each entry as [[exemption]]"
        return Exemptions(errors=(("", text),))
    active: list[Exemption] = []
    errors: list[tuple[str, str]] = []
    for number, entry in enumerate(entries, start=1):
        own = isinstance(entry, dict) and str(entry.get("control", ""))
        if own and own not in exemptible and not own.startswith(PREFIX):
            continue  # a control of another pack, which reads the same file
        if (
            defect := _shape_error(entry)
            or control_error(entry["control"], exemptible)
            or _date_error(entry, today)
        ):
            control = entry.get("control") if isinstance(entry, dict) else ""
            errors.append(
                (control if isinstance(control, str) else "", f"{_label(number, entry)} {defect}")
            )
        else:
            active.append(Exemption(number=number, **{key: entry[key] for key in _KEYS}))
    return Exemptions(tuple(active), tuple(errors))


def controls(path: Path) -> list[str]:
    """The controls that the entries name; none if the file cannot be read."""
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("exemption", [])
    except (OSError, ValueError):
        return []
    return [str(entry.get("control", "")) for entry in entries if isinstance(entry, dict)]


def _shape_error(entry: Any) -> str:
    if not isinstance(entry, dict):
        return "is not a table. Fix: write it as [[exemption]]"
    if missing := [key for key in _KEYS if key not in entry]:
        return f"has no {', '.join(missing)}. Fix: add {'it' if len(missing) == 1 else 'them'}"
    if unknown := sorted(set(entry) - set(_KEYS) - set(_OPTIONAL_KEYS)):
        return (
            f"has the unknown key {', '.join(unknown)}. Fix: use only "
            f"{', '.join((*_KEYS, *_OPTIONAL_KEYS))}"
        )
    for key in _KEYS[:5]:
        if not isinstance(entry[key], str) or not entry[key].strip():
            return f"has an empty {key}. Fix: write {key} as a non-empty string"
    for key in (*_KEYS[5:], "first_created"):
        if type(entry.get(key, entry["created"])) is not date:
            return f"has no valid date in {key}. Fix: write {key} = 2026-01-31, without quotes"
    if error := reason_error(entry["reason"]):
        return error
    if not isinstance(entry.get("renewed_by", ""), str):
        return "has no text in renewed_by. Fix: write the person or team that approved the renewal"
    # A pattern without a name covers every resource, such as urn:*, ?* or urn:pulumi:dev::shop::*.
    names_resource = "::" in entry["urn"] and _WILDCARD.sub("", entry["urn"].rpartition("::")[2])
    if not names_resource:
        return (
            "matches every resource. Fix: name the resource in urn, such as urn:pulumi:dev::*::logs"
        )
    return ""


def reason_error(reason: str) -> str:
    """Why the reason is not accepted, with the fix; "" if it is."""
    if len(_WORD.findall(reason)) >= REASON_WORDS_MIN:
        return ""
    return (
        f"has a reason with fewer than {REASON_WORDS_MIN} words. Fix: explain why the "
        f"control cannot be met"
    )


def control_error(control: str, exemptible: Mapping[str, bool]) -> str:
    """Why the control cannot be exempted, with the fix; "" if it can."""
    if control in _META_POLICIES:
        return (
            f"names {control}, which reports on other controls. Fix: name the "
            f"control of the finding"
        )
    allowed = exemptible.get(control)
    if allowed is None:
        return "names an unknown control. Fix: copy the ID from a report"
    if not allowed:
        return (
            "names a control that does not allow exemptions. Fix: meet the control and "
            "remove the entry"
        )
    return ""


def _date_error(entry: Mapping[str, Any], today: date) -> str:
    created, expires = entry["created"], entry["expires"]
    if created > today:
        return (
            f"has a creation date in the future ({created}). Fix: set created to the date "
            f"of approval"
        )
    if expires <= created:
        return "expires before its creation date. Fix: set expires after created"
    first = entry.get("first_created", created)
    if first > created:
        return (
            f"has a first_created date ({first}) after created. Fix: set first_created to "
            f"the date of the first approval"
        )
    owner, renewed_by = (entry.get(key, "").strip().casefold() for key in ("owner", "renewed_by"))
    if (expires - first).days > TOTAL_DAYS_MAX and renewed_by in ("", owner):
        total = (
            f"is valid for {(expires - first).days} days since {first}; the maximum is "
            f"{TOTAL_DAYS_MAX}"
        )
        return f"{total} unless another owner renews it. Fix: meet the control, or set renewed_by"
    return period_error(created, expires, today)


def period_error(created: date, expires: date, today: date) -> str:
    """Why the period is too long or over, with the fix; "" if it is neither."""
    if (expires - created).days > DAYS_MAX:
        return (
            f"is valid for {(expires - created).days} days; the maximum is {DAYS_MAX}. Fix: "
            f"set an earlier end"
        )
    if expires < today:
        return f"expired on {expires}. Fix: meet the control and remove the exemption, or renew it"
    return ""


def _label(number: int, entry: Any) -> str:
    known = entry if isinstance(entry, dict) else {}
    details = [known[key] for key in ("control", "ticket") if isinstance(known.get(key), str)]
    return f"exemption {number} ({', '.join(details)})" if details else f"exemption {number}"
