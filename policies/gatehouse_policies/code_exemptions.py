"""Exemptions in the code of a program: comments at the statement that declares a resource, such as
`# gatehouse:exempt GH-S3-010 until 2026-12-31: the log bucket comes with the move`.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path

from gatehouse_policies import catalogue
from gatehouse_policies.engine.exemptions import control_error, period_error, reason_error
from gatehouse_policies.engine.meta_policies import EXEMPTION_INVALID, EXEMPTION_USED, UNUSED_REMEDY
from gatehouse_policies.engine.rule import Level
from gatehouse_policies.reports.findings import Finding

_MARK = re.compile(r"#\s*gatehouse:exempt\b(.*)")
_FORM = re.compile(
    r"\s+(?P<control>[\w-]+)\s+until\s+(?P<expires>\d{4}-\d\d-\d\d):\s+(?P<reason>.+)"
)
_EXAMPLE = "# gatehouse:exempt GH-S3-010 until 2026-12-31: why the control cannot be met"


@dataclass(frozen=True)
class Comment:
    """A comment at a statement. first, last: the lines of the statement. error: why the comment is
    invalid, with the fix.
    """

    file: str
    line: int
    first: int
    last: int
    control: str = ""
    expires: date | None = None
    reason: str = ""
    error: str = ""

    @property
    def source(self) -> str:
        return f"{self.file}:{self.line}"

    def covers(self, finding: Finding) -> bool:
        file, _, line = finding.source.rpartition(":")
        return (
            not self.error
            and finding.rule == self.control
            and finding.outcome in ("violation", "undecided")
            and file == self.file
            and self.first <= int(line) <= self.last
        )


def apply(
    findings: Sequence[Finding],
    sources: Iterable[str],
    root: Path,
    today: date,
    denied: Sequence[str] = (),
    exemptible: Mapping[str, bool] | None = None,
) -> list[Finding]:
    """The findings, in which those that a comment exempts are exempted, and findings about comments
    that are invalid or that no resource uses.

    sources: the lines that declare resources, such as "storage.py:12", relative to `root`.
    denied: patterns of the controls that the configuration does not allow to exempt in code.
    exemptible: for each control of other packs, whether it allows exemptions.
    """
    known = {rule.id: rule.exemptible for rule in catalogue.RULES} | dict(exemptible or {})
    files = sorted({source.rpartition(":")[0] for source in sources if source})
    comments = [
        comment for file in files for comment in read(root / file, file, today, denied, known)
    ]
    exempted: dict[tuple[str, str, str], Finding] = {}
    remaining, used = [], set()
    for finding in findings:
        comment = next((each for each in comments if each.covers(finding)), None)
        if comment is None:
            remaining.append(finding)
            continue
        used.add(comment)
        message = (
            f"{finding.rule} is exempted for {finding.urn} until {comment.expires} at "
            f"{comment.source}: {comment.reason}"
        )
        exempted[finding.rule, finding.urn, comment.source] = replace(
            finding,
            level=Level.ADVISORY.value,
            outcome="exempted",
            message=message,
            remedy=EXEMPTION_USED.remedy,
        )
    return [
        *remaining,
        *exempted.values(),
        *(_about(comment) for comment in comments if comment.error or comment not in used),
    ]


def read(
    path: Path, file: str, today: date, denied: Sequence[str], exemptible: Mapping[str, bool]
) -> Iterator[Comment]:
    """The comments of a Python file. file: the path in findings."""
    try:
        text = path.read_text(encoding="utf-8")
        tokens = [
            token
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.type == tokenize.COMMENT
        ]
        marked = [(token, mark) for token in tokens if (mark := _MARK.match(token.string))]
        spans = (
            list(_spans(ast.parse(text), {token.start[0] for token in tokens})) if marked else []
        )
    except (OSError, ValueError, SyntaxError, tokenize.TokenError):
        return  # The file is not the source of a module, such as a template.
    for token, mark in marked:
        line = token.start[0]
        enclosing = [span for span in spans if span[0] <= line <= span[2]]
        _, first, last = min(enclosing, key=lambda span: span[2] - span[0], default=(0, line, line))
        comment = Comment(file, line, first, last)
        if (form := _FORM.fullmatch(mark[1].rstrip())) is None:
            yield replace(comment, error=f"is malformed. Fix: write {_EXAMPLE}")
            continue
        yield _checked(comment, form.groupdict(), today, denied, exemptible)


def _checked(
    comment: Comment,
    values: Mapping[str, str],
    today: date,
    denied: Sequence[str],
    exemptible: Mapping[str, bool],
) -> Comment:
    control, reason = values["control"], values["reason"]
    try:
        expires = date.fromisoformat(values["expires"])
    except ValueError:
        return replace(comment, error="has no valid date. Fix: write a date such as 2026-12-31")
    error = (
        control_error(control, exemptible)
        or reason_error(reason)
        or period_error(today, expires, today)
    )
    if not error and any(fnmatchcase(control, pattern) for pattern in denied):
        error = (
            "exempts a control that the configuration file lists in no_code_exemptions. Fix: meet "
            "the control, or add an exemption to the configuration file"
        )
    return replace(comment, control=control, expires=expires, reason=reason, error=error)


def _spans(tree: ast.AST, comments: set[int]) -> Iterator[tuple[int, int, int]]:
    """The lines of each statement, without the body of a compound statement: the first comment line
    directly above it, its first line and its last line.
    """

    def start(line: int) -> int:
        while line - 1 in comments:
            line -= 1
        return line

    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            last = start(body[0].lineno) - 1 if body else node.end_lineno or node.lineno
            yield start(node.lineno), node.lineno, max(last, node.lineno)


def _about(comment: Comment) -> Finding:
    subject = f"exemption at {comment.source}"
    invalid = bool(comment.error)
    control = EXEMPTION_INVALID if invalid else EXEMPTION_USED
    message, _, remedy = comment.error.partition(". Fix: ")
    return Finding(
        rule=control.id,
        title=control.title,
        pack=catalogue.PACKS[control.pack],
        level=(Level.MANDATORY if invalid else Level.ADVISORY).value,
        urn="",
        resource_type="",
        message=f"{subject} {message}" if invalid else f"{subject} is not used by any resource",
        remedy=remedy or UNUSED_REMEDY,
        severity=control.severity,
        outcome="violation" if invalid else "unused",
        source=comment.source,
    )
