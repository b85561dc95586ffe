"""Statements with which an identity extends permissions, takes over others or stops monitoring."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from gatehouse_policies import policy_check

from tests.cases import cases
from tests.policies.pack_process import Evaluation
from tests.policies.rules.builders import Program, document, roles
from tests.policies.rules.cases import changed_program
from tests.policies.test_foreign_programs import write_program

_CASES: Mapping[str, Any] = cases(__file__)
ROWS = [(rule, row) for rule in ("GH-IAM-007", "GH-IAM-013", "right") for row in _CASES[rule]]
RULES = {"GH-IAM-007", "GH-IAM-013"}


def with_statement(statement: Mapping[str, Any]) -> Program:
    policy = document({"Effect": "Allow", **statement})
    return changed_program(roles(), {"task-rights": {"policy": policy}})


@pytest.mark.parametrize(("rule", "row"), ROWS, ids=[row["name"] for _, row in ROWS])
def test_statement_is_reported_by_breadth(rule: str, row: dict[str, Any]) -> None:
    program = with_statement({key: value for key, value in row.items() if key != "name"})
    for known in (False, True):
        found = {each.policy for each in Evaluation(program, known).diagnostics()}
        assert found == ({rule} - {"right"})


def test_own_resources_boundaries_and_denials_limit_actions(tmp_path: Path) -> None:
    case = _CASES["program"]
    result = policy_check.check(write_program(tmp_path, case["text"]), "dev", levels="prod")
    found: dict[str, list[str]] = {}
    for each in result.findings:
        if each.rule in RULES:
            found.setdefault(each.urn.rpartition("::")[2], []).append(each.rule)
    assert found == case["reported"]
