"""The list of waits and buffers is complete, and its tests exist."""

import re
from collections import Counter

import pytest

from tools.docs import bounds


def test_every_bound_of_the_runtime_is_listed() -> None:
    """A new constant or setting is declared in tools/docs/bounds.toml: as a bound, or under `other`."""
    listed = {bound["source"] for bound in bounds.bounds()} | set(bounds.DOCUMENT["other"]["names"])
    found = set(bounds.candidates())
    assert len(found) > 90
    assert found - listed == set()


def test_other_names_exist() -> None:
    assert set(bounds.DOCUMENT["other"]["names"]) - set(bounds.candidates()) == set()


def test_subjects_are_distinct() -> None:
    assert [subject for subject, count in Counter(bound["subject"] for bound in bounds.bounds()).items() if count > 1] == []


@pytest.mark.parametrize("test", sorted({test for bound in bounds.bounds() for test in bound["tests"]}))
def test_named_test_exists(test: str) -> None:
    file, _, function = test.partition("::")
    assert re.search(rf"^(?:async )?def {function}\(", (bounds.TESTS / file).read_text(encoding="utf-8"), re.MULTILINE)


def test_every_bound_is_exceeded_by_a_test() -> None:
    assert [bound["subject"] for bound in bounds.bounds() if not bound["tests"]] == []


def test_caches_of_functions_are_small() -> None:
    """A cache whose keys are data from requests has a maximum size. `cache`, which has none, is not for such functions."""
    sizes, unlimited = [], set()
    for path in bounds.RUNTIME.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        sizes += [int(size) for size in re.findall(r"@lru_cache\(maxsize=([0-9_]+)\)", text)]
        assert text.count("@lru_cache") == len(re.findall(r"@lru_cache\(maxsize=[0-9_]+\)", text)), path
        unlimited |= set(re.findall(r"@cache\n *def ([a-z_]+)", text))
    assert len(sizes) >= 5
    assert max(sizes) <= 4096
    assert unlimited == CONSTANT


#: Functions that are called with types, or without arguments.
CONSTANT = {"_type_info", "_decoder", "_arrays", "body", "_document", "_encoded_document", "_tls_context"}
