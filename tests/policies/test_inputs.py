"""The table of the inputs of pulumi-aws that rules evaluate (inputs.json)."""

import textwrap
from collections import Counter

from gatehouse_policies.analysis import settings
from gatehouse_policies.catalogue import RULES

from tests.policies.provider_inputs import (
    REVIEWED,
    SETTINGS,
    TABLE,
    decided,
    disabling,
    inputs,
    is_reported_by_other_rules,
    meanings,
    rules_of,
    table,
    text,
    to_review,
)


def test_table_is_that_of_the_installed_provider() -> None:
    assert TABLE.read_text() == text(table()), (
        "review the inputs that changed, and run python -m tests.policies.provider_inputs"
    )


def test_every_input_whose_name_can_concern_security_is_reviewed() -> None:
    names = textwrap.fill(" ".join(sorted(to_review())), 120, break_on_hyphens=False)
    assert REVIEWED.read_text().split() == names.split(), (
        "an input with one of these words has no meaning in analysis/settings.py: add one, add its "
        f"name to NOT_JUDGED, or add it to {REVIEWED.name}"
    )


def test_setting_of_every_type_is_reported_by_a_general_rule() -> None:
    """Except those that a rule for the type reports."""
    general = [rule for rule in RULES if rule.id in SETTINGS]
    found = Counter[str]()
    for item in inputs():
        for value in disabling(item) if meanings(item) else ():
            is_other = is_reported_by_other_rules(item)
            reports = {
                rule.id
                for rule in general
                for violation in decided(rule, item.token, item.path, value).violations
                if violation.message.startswith(f"{item.path} is ")
                and "is not set" not in violation.message
            }
            assert len(reports) == (0 if is_other else 1), (item, value, reports)
            found.update(reports)
    assert set(found) == set(SETTINGS)
    assert sum(found.values()) > 500


def test_every_meaning_is_that_of_an_input() -> None:
    named = {meaning for item in inputs() for meaning in meanings(item)}
    variables = {"node_tls_reject_unauthorized", "require_secure_transport"}
    variables |= {"system_type", "container_insights"}  # names in pairs of a name and a value
    others = {
        meaning.names.pattern
        for meaning in settings.MEANINGS
        if meaning not in named and meaning.names.pattern
    }
    assert all(any(word in pattern for word in variables) for pattern in others), others


def test_default_is_that_of_an_input() -> None:
    """A path in the defaults is an input, or an object with inputs, of a type of pulumi-aws."""
    known: dict[str, set[str]] = {}
    for item in inputs():
        row = settings.row_name(item.token)
        steps = item.path.split(".")
        known.setdefault(row, set()).update(
            ".".join(steps[:number]) for number in range(1, len(steps) + 1)
        )
    defaults = table()["defaults"]
    assert len(defaults) > 20
    for row, paths in defaults.items():
        for path in paths:
            pair = path.rpartition(".")[0]
            assert {path, f"{pair}.value", f"{pair}.parameterValue"} & known[row], (row, path)
        assert {f"GH-PUL-{control}" for control, _ in paths.values()} <= set(SETTINGS)


def test_every_resource_type_has_a_row_or_no_input_without_a_rule() -> None:
    """Types whose inputs the rules evaluate, such as kms.Alias, are not in the reports."""
    absent = ("kms/alias:Alias", "ec2/flowLog:FlowLog", "ecr/repository:Repository", "ec2/vpc:Vpc")
    for name in absent:
        assert settings.not_evaluated(f"aws:{name}") == frozenset()
    assert settings.not_evaluated("aws:networkfirewall/ruleGroup:RuleGroup")
    assert not rules_of("aws:networkfirewall/ruleGroup:RuleGroup")
