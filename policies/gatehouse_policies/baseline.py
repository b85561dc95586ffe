"""The baseline of a repository: findings that exist already and do not fail a check.

An entry has the control, the type and name of the resource, and the message, but no file, line or
parent, so that it stays valid if code moves or a file is renamed. The file is JSON with one line
for each entry.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gatehouse_policies.engine.meta_policies import META_POLICIES, UNDECIDED
from gatehouse_policies.errors import CheckError
from gatehouse_policies.reports.findings import Finding

_FIELDS = ("rule", "type", "name", "message")
# These findings say what the controls did not evaluate.
_EXCLUDED = frozenset(policy.id for policy in META_POLICIES if policy is not UNDECIDED)

Entry = tuple[str, ...]
"""The values of `_FIELDS`."""


@dataclass(frozen=True)
class Baseline:
    """The entries of one stack, and how often each occurs.

    name: the file, or the revision, for reports.
    """

    name: str = ""
    entries: Counter[Entry] = field(default_factory=Counter)

    def apply(self, findings: Iterable[Finding]) -> tuple[list[Finding], int]:
        """The findings with their state, and the number of entries that no finding matches. An
        entry matches one finding.
        """
        remaining = Counter(self.entries)
        result = []
        for finding in findings:
            entry = finding.identity
            known = _can_be_known(finding) and remaining[entry] > 0
            if known:
                remaining[entry] -= 1
            result.append(replace(finding, baseline="unchanged" if known else "new"))
        return result, remaining.total()


def of_findings(name: str, findings: Iterable[Finding]) -> Baseline:
    return Baseline(name, Counter(each.identity for each in findings if _can_be_known(each)))


def read(file: Path, project: str, stack: str) -> Baseline:
    """The entries of a stack; for a stack that is not in the file, those of all stacks of its
    project. Raises CheckError for an invalid file, and for a project that is not in the file.
    """
    stacks = _stacks(file)
    own = stacks.get(f"{project}/{stack}")
    if own is not None:
        return Baseline(file.name, own)
    others = [entries for key, entries in stacks.items() if key.rpartition("/")[0] == project]
    if not others:
        raise CheckError(
            f"{file} has no baseline of the stack {project}/{stack}. Add it: gatehouse-policies "
            f"baseline --env {stack} {file}"
        )
    merged: Counter[Entry] = Counter()
    for entries in others:
        merged |= entries
    return Baseline(file.name, merged)


def text(file: Path, project: str, stack: str, findings: Sequence[Finding]) -> str:
    """The content of the file after the entries of one stack are replaced. Raises CheckError for an
    invalid file.
    """
    stacks = _stacks(file) if file.exists() else {}
    stacks[f"{project}/{stack}"] = of_findings(file.name, findings).entries
    blocks = []
    for key, entries in sorted(stacks.items()):
        rows = (json.dumps(dict(zip(_FIELDS, entry, strict=True))) for entry in entries.elements())
        lines = ",\n".join(f"      {row}" for row in sorted(rows))
        blocks.append(
            f"    {json.dumps(key)}: [\n{lines}\n    ]" if lines else f"    {json.dumps(key)}: []"
        )
    return '{\n  "stacks": {\n' + ",\n".join(blocks) + "\n  }\n}\n"


def _stacks(file: Path) -> dict[str, Counter[Entry]]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        return {
            str(key): Counter(map(_read_entry, rows)) for key, rows in document["stacks"].items()
        }
    except OSError as error:
        raise CheckError(
            f"{file} cannot be read: {error.strerror}. Create it: gatehouse-policies baseline "
            f"{file}"
        ) from error
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise CheckError(
            f"{file} is not a baseline. Create it again: gatehouse-policies baseline {file}"
        ) from error


def _read_entry(row: Any) -> Entry:
    values = tuple(row[name] for name in _FIELDS)
    if not all(isinstance(value, str) for value in values):
        raise TypeError
    return values


def _can_be_known(finding: Finding) -> bool:
    return finding.outcome in ("violation", "undecided") and finding.rule not in _EXCLUDED
