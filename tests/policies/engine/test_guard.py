"""A rule reads on after an unknown property."""

from collections.abc import Callable
from typing import Any

import pytest
from gatehouse_policies.analysis.properties import Properties
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.engine.guard import EVALUATIONS_MAX, Decision, evaluate
from gatehouse_policies.engine.rule import CheckResults, resource_rule
from pulumi_local.types import UNKNOWN

Check = Callable[[Properties], CheckResults]


def decide(check: Check, **props: Any) -> Decision:
    rule = resource_rule("X-1", title="t", remedy="fix", types=("aws:x/y:Z",), url="u")(
        lambda resource: check(resource.props)
    )
    resource = Resource("urn", "aws:x/y:Z", "z", Properties(props))
    return evaluate(rule, resource, Stack([resource]))


def messages(decision: Decision) -> list[str]:
    return [violation.message for violation in decision.violations]


def flags(props: Properties) -> CheckResults:
    for name in ("first", "second", "third"):
        if not props.flag(name):
            yield f"{name} is false"


@pytest.mark.parametrize("first", [UNKNOWN, True])
def test_flag_after_an_unknown_flag_is_a_violation(first: Any) -> None:
    decision = decide(flags, first=first, second=False, third=UNKNOWN)
    assert messages(decision) == ["second is false"]
    assert decision.undecided == (("first",) if first == UNKNOWN else ("third",))


def test_unknown_flags_without_certain_violation_are_undecided() -> None:
    assert decide(flags, first=UNKNOWN, second=True, third=True) == Decision(undecided=("first",))


def test_violation_for_both_values_of_a_flag_is_certain() -> None:
    def check(props: Properties) -> CheckResults:
        props.flag("first")
        yield "first is wrong in any case"

    assert messages(decide(check, first=UNKNOWN)) == ["first is wrong in any case"]


def test_element_after_an_unknown_element_is_a_violation() -> None:
    def check(props: Properties) -> CheckResults:
        if "0.0.0.0/0" in props.texts("cidrBlocks"):
            yield "the rule allows the internet"

    assert messages(decide(check, cidrBlocks=[UNKNOWN, "0.0.0.0/0"])) == [
        "the rule allows the internet"
    ]
    assert decide(check, cidrBlocks=[UNKNOWN, "10.0.0.0/8"]) == Decision(
        undecided=("cidrBlocks[0]",)
    )


def test_unknown_text_that_can_be_compliant_is_undecided() -> None:
    def check(props: Properties) -> CheckResults:
        if props.text("runtime") != "python3.13":
            yield "runtime is not supported"
        if props.number("timeout") > 10**10:
            yield "timeout is too long"

    assert decide(check, runtime=UNKNOWN, timeout=10**11) == Decision(undecided=("runtime",))
    assert decide(check, runtime="python3.13", timeout=UNKNOWN) == Decision(undecided=("timeout",))


def test_rule_that_fails_with_an_assumed_value_is_undecided() -> None:
    def check(props: Properties) -> CheckResults:
        yield f"{1 // len(props.text('name'))} is wrong"

    assert decide(check, name=UNKNOWN) == Decision(undecided=("name",))


def test_missing_element_of_a_list_with_an_unknown_element_is_undecided() -> None:
    def check(props: Properties) -> CheckResults:
        if "postgresql" not in props.texts("exports"):
            yield "exports does not contain postgresql"

    assert decide(check, exports=[UNKNOWN]) == Decision(undecided=("exports[0]",))


def test_evaluations_with_assumed_values_are_bounded() -> None:
    calls = 0

    def check(props: Properties) -> CheckResults:
        nonlocal calls
        calls += 1
        yield "the resource is wrong in any case"
        for name in props.names():
            props.flag(name)

    decision = decide(check, **{f"flag{number}": UNKNOWN for number in range(12)})
    assert messages(decision) == ["the resource is wrong in any case"]
    assert calls == EVALUATIONS_MAX + 1
