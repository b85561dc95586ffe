"""Messages have the names of a Python program."""

import pytest
from gatehouse_policies.catalogue import RULES
from gatehouse_policies.reports.python_names import in_python
from pulumi_local.type_tokens import AWS_PROVIDER, aws

from tests.cases import cases

_CASES = cases(__file__)


@pytest.mark.parametrize(("name", "text", "expected"), _CASES["inputs_have_their_python_names"])
def test_inputs_have_their_python_names(name: str, text: str, expected: str) -> None:
    assert in_python(text, aws(name)[0]) == expected


def test_provider_and_unknown_types() -> None:
    text = "set aws:allowedAccountIds, or allowedAccountIds of the aws.Provider"
    assert in_python(text, AWS_PROVIDER) == (
        "set aws:allowedAccountIds, or allowed_account_ids of the aws.Provider"
    )
    for token in (
        "random:index/randomId:RandomId",
        "aws:nowhere/x:X",
        "",
        "aws:s3/nothing:Nothing",
    ):
        assert in_python("byteLength", token) == "byteLength"


def test_remedies_of_rules_have_python_names() -> None:
    changed = [
        rule.id
        for rule in RULES
        if rule.types and in_python(rule.remedy, rule.types[0]) != rule.remedy
    ]
    assert len(changed) > 80
