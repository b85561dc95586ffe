"""How a clean program is broken in one property, and what must be said then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from policies.testing.harness import Declared

Program = list[Declared]


@dataclass(frozen=True)
class Broken:
    """One broken property: the rule that must speak, the program with it, the resource it must name, what it must
    say.
    """

    rule: str
    program: Program
    name: str
    says: str
    fix: str = ""


def broken(rule: str, name: str, says: str, program: Program, fix: str = "") -> Any:
    return pytest.param(Broken(rule, program, name, says, fix), id=f"{rule}: {says[:60]}")


def changed(program: Program, name: str, /, **inputs: Any) -> Program:
    """The program with some inputs of one resource changed; None removes one."""
    assert any(one.name == name for one in program)
    return [one.with_inputs(**inputs) if one.name == name else one for one in program]


def without(program: Program, *names: str) -> Program:
    return [one for one in program if one.name not in names]


def retyped(program: Program, change: Callable[[str], str]) -> Program:
    return [Declared(change(one.type), one.name, one.inputs, one.parent, one.protect, one.computed) for one in program]


def unprotected(program: Program, name: str) -> Program:
    return [Declared(one.type, one.name, one.inputs, one.parent, one.protect and one.name != name) for one in program]
