"""A baseline accepts what it was made of and less, and nothing more: the violating program of every
control, with every changed input widened and narrowed, and every secret and text replaced.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from gatehouse_policies import baseline, catalogue
from gatehouse_policies.analysis.iam.containment import allows_at_most
from gatehouse_policies.analysis.iam.grammar import parse
from gatehouse_policies.analysis.secret_detection import is_secret_input, looks_secret
from gatehouse_policies.engine.facts import facts_of
from gatehouse_policies.engine.guard import violation_text
from gatehouse_policies.reports.findings import Finding, from_diagnostic

from tests.policies.declared import Declared
from tests.policies.pack_process import Evaluation
from tests.policies.rules.builders import Program
from tests.policies.rules.cases import CASES, ROWS, Case, parts_of

STEP = 1 if "GATEHOUSE_EXAMPLES" in os.environ else 8
Path = tuple[str | int, ...]


@cache
def _rows(rule: str) -> list[tuple[Case, Mapping[str, Any]]]:
    return list(zip([case for case in CASES if case.rule == rule], ROWS[rule], strict=True))


def _findings(case: Case, program: Program) -> list[Finding]:
    """The findings of the control, with their facts."""
    evaluation = Evaluation(program, known=True)
    rule = catalogue.rule(case.rule)
    return [
        replace(finding, facts=json.loads(json.dumps(facts)))
        for resource, stack, decision in evaluation.of_rule(rule)
        for facts in [facts_of(rule, resource, stack)]
        for violation in decision.violations
        for finding in from_diagnostic(
            pack=rule.pack,
            policy=rule.id,
            message=violation_text(violation, rule),
            level="mandatory",
            urn=resource.urn,
        )
    ]


_FOUND: dict[int, list[Finding]] = {}


def _accepted(case: Case) -> list[Finding]:
    if id(case) not in _FOUND:
        _FOUND[id(case)] = _findings(case, case.program)
    return _FOUND[id(case)]


def _states(case: Case, changed: Program) -> list[str]:
    """The states of the findings of a changed program, with the baseline of the case."""
    known = baseline.of_findings("known", _accepted(case))
    assert {each.baseline for each in known.apply(_accepted(case))[0]} == {"unchanged"}
    return [finding.baseline for finding in known.apply(_findings(case, changed))[0]]


def _leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    yield path, value
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _leaves(inner, (*path, index))


def _with(value: Any, path: Path, new: Any) -> Any:
    if not path:
        return new
    if isinstance(value, str):
        return json.dumps(_with(json.loads(value), path, new))
    copy: Any = list(value) if isinstance(value, list) else dict(value)
    copy[path[0]] = _with(copy[path[0]], path[1:], new)
    return copy


def _changed(program: Program, name: str, path: Path, new: Any) -> Program:
    return [
        item.with_inputs(**{str(path[0]): _with(item.inputs, path, new)[path[0]]})
        if item.name == name
        else item
        for item in program
    ]


def _inputs(case: Case, changes: Mapping[str, Any]) -> Iterator[tuple[Declared, Path, Any]]:
    """The values at and below the inputs that the case changes, also in JSON text, of the resources
    that the control reads. Flags, numbers and lists are those that the message names.
    """
    names = {name.rpartition(" ")[2] for each in _accepted(case) for name in each.facts or ()}
    words = {word for each in _accepted(case) for word in re.findall(r"\w+", each.message)}
    for resource in case.program:
        change = changes.get(resource.name)
        is_read = resource.name == case.name or resource.name in names
        for key in change if is_read and isinstance(change, dict) else ():
            if (case.rule, key) in _OTHERS:
                continue
            value = resource.inputs.get(key)
            if isinstance(value, str) and value[:1] in ("{", "["):
                value = json.loads(value)
            for path, leaf in _leaves(value, (key,)):
                is_network = isinstance(leaf, str) and leaf[:1].isdigit()
                if is_network and "0.0.0.0/0" in str(value) and leaf != "0.0.0.0/0":
                    continue  # The widest network is accepted already.
                if path[-1] in words or not isinstance(leaf, int | list):
                    yield resource, path, leaf


def _statements(value: Any) -> list[dict[str, Any]]:
    found = value.get("Statement") if isinstance(value, Mapping) else None
    listed = found if isinstance(found, list) else [found]
    return [each for each in listed if isinstance(each, dict) and "Effect" in each]


# Inputs in the programs of a control that the control does not read.
_OTHERS = {
    ("GH-ACC-002", "recordingGroup"),
    ("GH-ALB-009", "healthCheck"),
    ("GH-BAK-003", "policy"),
    ("GH-BAK-004", "resources"),
    ("GH-PUL-008", "cidr"),
    ("GH-SM-006", "policy"),
    ("GH-VPC-006", "egress"),
}
_ALL = {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}


def _wider(path: Path, value: Any) -> Iterator[Any]:
    """Values that allow or weaken more."""
    if isinstance(value, Mapping):
        if value.get("Effect") == "Allow":
            for element in ("Action", "Resource", "Principal"):
                if element in value:
                    yield {**value, element: "*"}
            if value.get("Condition"):
                yield {key: inner for key, inner in value.items() if key != "Condition"}
        if statements := _statements(value):
            added = {k: v for k, v in _ALL.items() if k in statements[0] or k == "Action"}
            yield {**value, "Statement": [*statements, added]}
        if value.get("toPort"):
            yield {**value, "fromPort": 0, "toPort": 65535}
    elif isinstance(value, list) and "Statement" not in path:
        if all(isinstance(each, str) for each in value):
            yield [*value, "x"]
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield value + 1
        yield max(0, value - 1)
    elif isinstance(value, str) and re.fullmatch(r"[\d.]+/[1-9]\d?", value):
        yield "0.0.0.0/0"


def _other_texts(case: Case, path: Path, value: Any) -> Iterator[str]:
    """Another secret, and another text of an input that a message names."""
    name = str(next(step for step in reversed(path) if isinstance(step, str)))
    words = {word for each in _accepted(case) for word in re.findall(r"\w+", each.message)}
    if isinstance(value, str) and value.lower() not in ("", "true", "false"):
        is_secret = is_secret_input(name) or looks_secret(name, value) or "hunter2" in value
        if is_secret or path[-1] in words:
            yield f"{value}x"


def _narrower(path: Path, value: Any) -> Iterator[Any]:
    """Values that allow less."""
    if isinstance(value, Mapping) and value.get("Effect") == "Allow":
        condition = {"NumericLessThan": {"aws:MultiFactorAuthAge": "1"}}
        yield {**value, "Condition": {**value.get("Condition", {}), **condition}}
        for element in ("Action", "Resource"):
            listed = value.get(element)
            if isinstance(listed, list) and len(listed) > 1:
                yield {**value, element: listed[1:]}
            if isinstance(listed, str) and listed.endswith("*"):
                yield {**value, element: f"{listed[:-1]}{'s3:Get' if listed == '*' else 'x'}*"}
    if value == "0.0.0.0/0" and "cidr" in str(path).lower():
        yield "0.0.0.0/1"


def _is_same(value: Any, new: Any) -> bool:
    """True if the new value allows nothing that the value does not."""
    documents = [
        {"Statement": statements if (statements := _statements(each)) else [each]}
        for each in (new, value)
        if isinstance(each, dict) and (_statements(each) or "Effect" in each)
    ]
    if len(documents) == 2:
        own, other = map(parse, documents)
        return allows_at_most(own, other)
    return bool(new == value)


CHANGES = [(case, parts_of(row)[1]) for rule in ROWS for case, row in _rows(rule)][::STEP]
_EACH = pytest.mark.parametrize(
    ("case", "changes"),
    CHANGES,
    ids=lambda value: f"{value.rule} {value.message}" if isinstance(value, Case) else "",
)


@_EACH
def test_baseline_does_not_accept_more(case: Case, changes: Mapping[str, Any]) -> None:
    accepted = [
        (resource.name, path, new)
        for resource, path, value in _inputs(case, changes)
        for new in (*_wider(path, value), *_other_texts(case, path, value))
        if not _is_same(value, new)
        and (states := _states(case, _changed(case.program, resource.name, path, new)))
        and "new" not in states
    ]
    assert accepted == []


def _at(value: Any, path: Path) -> Mapping[str, Any]:
    """The object at a path; empty if there is another value, such as text."""
    for step in path:
        if not isinstance(value, Mapping | list):
            return {}
        elements: Any = value
        value = elements[step]
    return value if isinstance(value, Mapping) else {}


@_EACH
def test_baseline_accepts_less(case: Case, changes: Mapping[str, Any]) -> None:
    for resource, path, value in _inputs(case, changes):
        # A network ACL that denies less allows more.
        denies = _at(resource.inputs, path[:-1]).get("action") == "deny" if len(path) > 2 else False
        for new in () if denies else _narrower(path, value):
            after = _changed(case.program, resource.name, path, new)
            assert "new" not in _states(case, after), (path, new)
