"""Patterns as sets of texts, compared with all texts over a small alphabet."""

from contextlib import suppress
from itertools import product

import pytest
from gatehouse_policies.analysis.iam.conditions import holds
from gatehouse_policies.analysis.iam.grammar import Condition, DocumentError, matches
from gatehouse_policies.analysis.iam.patterns import clause, clause_of, covers, example
from hypothesis import given, settings
from hypothesis import strategies as st

_LENGTH_MAX = 5
_TEXTS = ["".join(each) for n in range(_LENGTH_MAX + 1) for each in product("abx", repeat=n)]
_GLOBS = st.lists(st.sampled_from(["a", "b", "*", "?", "[*]", "[?]"]), max_size=4).map("".join)
_SETS = st.lists(_GLOBS, min_size=1, max_size=3)


@given(st.lists(st.tuples(_SETS, st.booleans()), min_size=1, max_size=3))
@settings(max_examples=400, deadline=None)
def test_example_exists_if_one_of_all_texts_does(clauses: list[tuple[list[str], bool]]) -> None:
    def fits(text: str) -> bool:
        return all(
            any(matches(text, pattern) for pattern in patterns) == expected
            for patterns, expected in clauses
        )

    found = example([clause(*each) for each in clauses])

    assert found is None or fits(found)
    if any(map(fits, _TEXTS)):
        assert found is not None


@given(_SETS, _GLOBS)
@settings(max_examples=300, deadline=None)
def test_covered_pattern_has_no_other_text(patterns: list[str], pattern: str) -> None:
    others = [
        text
        for text in _TEXTS
        if matches(text, pattern) and not any(matches(text, each) for each in patterns)
    ]
    assert not (covers(patterns, pattern) and others)


_PARTS = st.lists(st.sampled_from(["a", ":", "*", "?", "A"]), max_size=9).map("".join)
_OPERATORS = ("arnlike", "arnnotlike", "stringlike", "stringnotlike", "stringequals")


@given(
    st.sampled_from([*_OPERATORS, "stringnotequals", "stringequalsignorecase"]),
    st.lists(_PARTS, min_size=1, max_size=2),
    st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_example_of_a_condition_passes_it(operator: str, values: list[str], expected: bool) -> None:
    condition = Condition(operator, "aws:sourcearn", tuple(values))
    language = clause_of(condition, expected)
    assert language is not None
    found = example([language])
    if found is not None and not any(value.endswith("*") for value in values):
        context = {"aws:sourcearn": found}
        assert holds([condition], context, variables=False) is expected


@pytest.mark.parametrize(
    ("patterns", "pattern", "covered"),
    [
        (["s3:*"], "s3:Get*", True),
        (["s3:Get*"], "s3:*", False),
        (["a*", "b*"], "?*", False),
        (["*"], "${aws:username}/*", True),
        (["arn:aws:s3:::acme/*"], "arn:aws:s3:::acme*", False),
        (["*" + "a*" * 30], "*" + "a*" * 31, True),
        (["*" + "a*" * 31], "*" + "a*" * 30, False),
    ],
)
def test_coverage(patterns: list[str], pattern: str, covered: bool) -> None:
    assert covers(patterns, pattern) is covered


_FEW = st.lists(st.sampled_from(["a", "b", "?", "*"]), min_size=60, max_size=200).map("".join)
HOSTILE = [
    ["*a" + "?" * 30, *(f"*{letter}" + "?" * n for letter in "bcdefgh" for n in range(25, 50))],
    ["*a?" * 1000, "*?b" * 1000, "*ab" * 1000],
    ["*" + "?" * 100 + "a" + "?" * 100, *("*b" + "?" * n for n in range(30, 60))],
]


@pytest.mark.parametrize("patterns", HOSTILE, ids=len)
def test_search_that_ends_early_is_an_error(patterns: list[str]) -> None:
    with pytest.raises(DocumentError, match="could not be decided"):
        example((clause(patterns[:1]), *(clause([each], False) for each in patterns[1:])))


@given(_FEW, st.lists(_FEW, min_size=1, max_size=20))
@settings(max_examples=5, deadline=None)
def test_search_has_a_bounded_number_of_steps(pattern: str, patterns: list[str]) -> None:
    with suppress(DocumentError):
        covers(patterns, pattern)
