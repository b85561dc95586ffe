"""The baseline of a repository: findings that exist already and do not fail a check.

An entry has the control, the type and name of the resource, the message, and the facts: the values
that the control read. It has no file, line or parent, so that it stays valid if code moves or a
file is renamed. It accepts a finding with the same facts, or with less, such as fewer actions. The
file is JSON with one line for each entry.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pulumi_local.errors import CommandError

from gatehouse_policies.engine import facts
from gatehouse_policies.engine.meta_policies import META_POLICIES, UNDECIDED
from gatehouse_policies.reports.findings import Finding

_FIELDS = ("rule", "type", "name", "message")
# These findings say what the controls did not evaluate.
_EXCLUDED = frozenset(policy.id for policy in META_POLICIES if policy is not UNDECIDED)


@dataclass(frozen=True)
class Entry:
    """identity: the values of `_FIELDS`. facts: None if the pack does not say what it read."""

    identity: tuple[str, ...]
    facts: Mapping[str, Any] | None = None

    @property
    def subject(self) -> tuple[str, ...]:
        return self.identity[:-1]


@dataclass(frozen=True)
class Baseline:
    """The entries of one stack.

    name: the file, or the revision, for reports.
    """

    name: str = ""
    entries: tuple[Entry, ...] = ()

    def apply(self, findings: Iterable[Finding]) -> tuple[list[Finding], int]:
        """The findings with their state, and the number of entries that no finding matches. An
        entry matches one finding.
        """
        remaining: dict[tuple[str, ...], list[Entry]] = {}
        for entry in self.entries:
            remaining.setdefault(entry.subject, []).append(entry)
        # A finding with another message can be less than an accepted one, such as a policy with
        # fewer actions. First, each finding takes the entry with its message.
        result = [_first(finding, remaining) for finding in findings]
        result = [
            _known(finding) if _take_less(finding, remaining) else finding for finding in result
        ]
        return result, sum(map(len, remaining.values()))


def _first(finding: Finding, remaining: Mapping[tuple[str, ...], list[Entry]]) -> Finding:
    """The finding with its state after a comparison with the entries that have its message."""
    result = replace(finding, baseline="new")
    for entry in _entries(finding, remaining) if _can_be_known(finding) else ():
        if entry.identity not in finding.identities:
            continue
        changed = facts.changes(finding.facts or {}, entry.facts or {})
        if not changed:
            remaining[entry.subject].remove(entry)
            return _known(finding)
        note = f"in the baseline, but {', '.join(changed)} changed"
        result = replace(result, message=f"{finding.message} ({note})")
    return result


def _known(finding: Finding) -> Finding:
    unknown = facts.unknown_paths(finding.facts or {}) if finding.outcome == "violation" else []
    if not unknown:
        return replace(finding, baseline="unchanged")
    note = f"in the baseline; {', '.join(unknown)} is unknown and not compared"
    message = f"{finding.message} ({note})"
    return replace(finding, baseline="unchanged", message=message, is_compared=False)


def _take_less(finding: Finding, remaining: Mapping[tuple[str, ...], list[Entry]]) -> bool:
    """True if an entry has the facts of the finding and more, which is removed."""
    if finding.is_known or not _can_be_known(finding):
        return False
    for entry in _entries(finding, remaining):
        own, accepted = finding.facts, entry.facts
        if own and accepted and own != accepted and not facts.changes(own, accepted):
            remaining[entry.subject].remove(entry)
            return True
    return False


def _entries(finding: Finding, remaining: Mapping[tuple[str, ...], list[Entry]]) -> list[Entry]:
    subjects = dict.fromkeys(identity[:-1] for identity in finding.identities)
    return [entry for subject in subjects for entry in remaining.get(subject, ())]


def of_findings(name: str, findings: Iterable[Finding]) -> Baseline:
    known = filter(_can_be_known, findings)
    return Baseline(name, tuple(Entry(each.identity, each.facts) for each in known))


def read(file: Path, project: str, stack: str) -> Baseline:
    """The entries of a stack; for a stack that is not in the file, those of all stacks of its
    project. Raises CommandError for an invalid file, and for a project that is not in the file.
    """
    stacks = _stacks(file)
    own = stacks.get(f"{project}/{stack}")
    if own is not None:
        return Baseline(file.name, own)
    others = [entries for key, entries in stacks.items() if key.rpartition("/")[0] == project]
    if not others:
        raise CommandError(
            f"{file} has no baseline of the stack {project}/{stack}. Add it: gatehouse-policies "
            f"baseline --env {stack} {file}"
        )
    # An entry of several stacks counts once.
    merged: dict[str, tuple[Entry, ...]] = {}
    for entries in others:
        rows: dict[str, tuple[Entry, ...]] = {}
        for entry in entries:
            rows[_row(entry)] = (*rows.get(_row(entry), ()), entry)
        merged |= {row: max(rows[row], merged.get(row, ()), key=len) for row in rows}
    return Baseline(file.name, tuple(entry for same in merged.values() for entry in same))


def text(file: Path, project: str, stack: str, findings: Sequence[Finding]) -> str:
    """The content of the file after the entries of one stack are replaced. Raises CommandError for
    an invalid file.
    """
    stacks = _stacks(file) if file.exists() else {}
    stacks[f"{project}/{stack}"] = of_findings(file.name, findings).entries
    blocks = []
    for key, entries in sorted(stacks.items()):
        lines = ",\n".join(f"      {row}" for row in sorted(map(_row, entries)))
        blocks.append(
            f"    {json.dumps(key)}: [\n{lines}\n    ]" if lines else f"    {json.dumps(key)}: []"
        )
    return '{\n  "stacks": {\n' + ",\n".join(blocks) + "\n  }\n}\n"


def _row(entry: Entry) -> str:
    return json.dumps({**dict(zip(_FIELDS, entry.identity, strict=True)), "facts": entry.facts})


def _stacks(file: Path) -> dict[str, tuple[Entry, ...]]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        return {str(key): tuple(map(_read_entry, rows)) for key, rows in document["stacks"].items()}
    except OSError as error:
        raise CommandError(
            f"{file} cannot be read: {error.strerror}. Create it: gatehouse-policies baseline "
            f"{file}"
        ) from error
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise CommandError(
            f"{file} is not a baseline of this version. Create it again: gatehouse-policies "
            f"baseline {file}"
        ) from error


def _read_entry(row: Any) -> Entry:
    values = tuple(row[name] for name in _FIELDS)
    if not all(isinstance(value, str) for value in values) or not isinstance(
        row["facts"], dict | None
    ):
        raise TypeError
    return Entry(values, row["facts"])


def _can_be_known(finding: Finding) -> bool:
    return finding.outcome in ("violation", "undecided") and finding.rule not in _EXCLUDED
