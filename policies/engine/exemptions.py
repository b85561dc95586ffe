"""Reads exemptions.toml: who may break which control, on what, why and until when; decides which entries count
today.
"""

import tomllib
from collections.abc import Container, Mapping
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

DAYS_MAX = 90
REASON_CHARS_MIN = 20
_KEYS = ("control", "urn", "owner", "reason", "ticket", "created", "expires")


@dataclass(frozen=True, slots=True)
class Exemption:
    """One valid entry. `number` is its place in the file, from 1."""

    number: int
    control: str
    urn: str
    owner: str
    reason: str
    ticket: str
    created: date
    expires: date

    def covers(self, control: str, urn: str) -> bool:
        """True when the entry speaks of this control on this resource; `*` in its URN stands for any run of
        characters.
        """
        return control == self.control and fnmatchcase(urn, self.urn)

    def concerns(self, stack_urn: str) -> bool:
        """True unless the entry's URN names another Pulumi stack than this one."""
        stack = _stack(self.urn)
        return "*" in stack or "?" in stack or stack == _stack(stack_urn)


@dataclass(frozen=True, slots=True)
class Exemptions:
    """The entries that count today, and what is wrong with the others, each as "what. Fix: what to type"."""

    active: tuple[Exemption, ...] = ()
    faults: tuple[tuple[str, str], ...] = ()  # (control or "", text)

    def find(self, control: str, urn: str) -> Exemption | None:
        """The first entry that covers this control on this resource."""
        return next((entry for entry in self.active if entry.covers(control, urn)), None)


def load(path: Path, today: date, exemptible: Mapping[str, bool]) -> Exemptions:
    """Reads the file; a file that does not exist holds no exemptions.

    `exemptible` says for each known control whether it may be exempted at all. Never raises: an unreadable file is a
    fault.
    """
    if not path.exists():
        return Exemptions()
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        return Exemptions(faults=(("", f"{path.name} cannot be read ({type(problem).__name__}). Fix: make it valid TOML"),))
    entries = raw.get("exemption", [])
    if set(raw) - {"exemption"} or not isinstance(entries, list):
        return Exemptions(faults=(("", f"{path.name} holds something else. Fix: write [[exemption]] entries only"),))
    active: list[Exemption] = []
    faults: list[tuple[str, str]] = []
    for number, entry in enumerate(entries, start=1):
        found = _read(number, entry, today, exemptible)
        if isinstance(found, Exemption):
            active.append(found)
        else:
            control = entry.get("control") if isinstance(entry, dict) else ""
            faults.append((control if isinstance(control, str) else "", f"{_named(number, entry)} {found}"))
    return Exemptions(tuple(active), tuple(faults))


def _read(number: int, entry: Any, today: date, exemptible: Mapping[str, bool]) -> Exemption | str:
    """The entry, or what is wrong with it and how to put it right."""
    fault = _shape_fault(entry) or _control_fault(entry, exemptible) or _time_fault(entry, today)
    return fault or Exemption(number=number, **{key: entry[key] for key in _KEYS})


def _shape_fault(entry: Any) -> str:
    if not isinstance(entry, dict):
        return "is not a table. Fix: write it as [[exemption]]"
    if missing := [key for key in _KEYS if key not in entry]:
        return f"lacks {', '.join(missing)}. Fix: add {'it' if len(missing) == 1 else 'them'}"
    if unknown := sorted(set(entry) - set(_KEYS)):
        return f"has the unknown key {', '.join(unknown)}. Fix: use only {', '.join(_KEYS)}"
    for key in _KEYS[:5]:
        if not isinstance(entry[key], str) or not entry[key].strip():
            return f"has no text in {key}. Fix: write {key} as a non-empty string"
    for key in _KEYS[5:]:
        if type(entry[key]) is not date:
            return f"has no date in {key}. Fix: write {key} = 2026-01-31, without quotes"
    if len(entry["reason"].strip()) < REASON_CHARS_MIN:
        return f"gives a reason shorter than {REASON_CHARS_MIN} characters. Fix: say why the control cannot be met"
    if entry["urn"].strip("*") == "":
        return "covers every resource. Fix: name the resource in urn, such as urn:pulumi:dev::*::logs"
    return ""


def _control_fault(entry: Mapping[str, Any], exemptible: Container[str] | Mapping[str, bool]) -> str:
    allowed = exemptible.get(entry["control"]) if isinstance(exemptible, Mapping) else None
    if allowed is None:
        return "names a control that does not exist. Fix: take the id from a report"
    if not allowed:
        return "names a control that can never be exempted. Fix: meet the control and remove the entry"
    return ""


def _time_fault(entry: Mapping[str, Any], today: date) -> str:
    created, expires = entry["created"], entry["expires"]
    if created > today:
        return f"is created in the future ({created}). Fix: write the day on which it was granted"
    if expires <= created:
        return "expires before it is created. Fix: set expires after created"
    if (expires - created).days > DAYS_MAX:
        return f"runs {(expires - created).days} days, {DAYS_MAX} at most. Fix: bring expires nearer to created"
    if expires < today:
        return f"expired on {expires}. Fix: meet the control and remove the entry, or have it granted anew"
    return ""


def _named(number: int, entry: Any) -> str:
    known = entry if isinstance(entry, dict) else {}
    details = [known[key] for key in ("control", "ticket") if isinstance(known.get(key), str)]
    return f"exemption {number} ({', '.join(details)})" if details else f"exemption {number}"


def _stack(urn: str) -> str:
    """urn:pulumi:<stack>::<project>::<types>::<name>"""
    return urn.partition("::")[0].rpartition(":")[2]
