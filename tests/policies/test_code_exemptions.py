"""Comments in a program that exempt resources."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from textwrap import dedent

import pytest
from gatehouse_policies import policy_check
from gatehouse_policies.code_exemptions import Comment, read
from gatehouse_policies.configuration import Configuration
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases

_CASES = cases(__file__)

TODAY = date(2026, 11, 29)
KNOWN = {"GH-S3-010": True, "GH-KMS-002": False}
VALID = "# gatehouse:exempt GH-S3-010 until 2026-12-31: the log bucket comes with the move"
END = datetime.now(UTC).date() + timedelta(days=30)
PROGRAM = f"""
import pulumi
import pulumi_aws as aws


def topics(*names):
    for name in names:
        # Orders are public.
        # gatehouse:exempt GH-SNS-001 until {END}: the orders of the shop are public
        aws.sns.Topic(
            name,
            tags={{"team": "shop"}},
        )


topics("orders", "refunds")
aws.sns.Topic("other")
logs = aws.s3.Bucket(  # gatehouse:exempt GH-S3-010 until {END}: nobody may read these logs
    "logs",
    # gatehouse:exempt GH-S3-007 until {END}: nobody may keep versions of logs
)
# gatehouse:exempt GH-S3-001 until {END}: this control has no exemptions
aws.s3.Bucket("public")
# gatehouse:exempt GH-S3-013 until {END}: this comment belongs to no resource
pulumi.export("logs", logs.id)
"""


def comments(path: Path, text: str, *denied: str) -> list[Comment]:
    file = path / "app.py"
    file.write_text(dedent(text))
    return list(read(file, "app.py", TODAY, denied, KNOWN))


def test_comment_exempts_the_resources_of_its_statement(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    (tmp_path / "Pulumi.prod.yaml").write_text("config:\n  aws:region: eu-west-1\n")
    (tmp_path / "__main__.py").write_text(PROGRAM)
    result = policy_check.check(tmp_path, "prod")
    exempted = {
        (item.rule, item.urn.rpartition("::")[2])
        for item in result.findings
        if item.outcome == "exempted"
    }
    assert exempted == {
        ("GH-SNS-001", "orders"),
        ("GH-SNS-001", "refunds"),
        ("GH-S3-010", "logs"),
        ("GH-S3-007", "logs"),
    }
    remaining = {
        (item.rule, item.urn.rpartition("::")[2]) for item in result.findings if item.blocks
    }
    assert not remaining & exempted
    assert {("GH-SNS-001", "other"), ("GH-S3-010", "public"), ("GH-S3-001", "public")} <= remaining
    [invalid] = [item for item in result.findings if item.rule == "GH-EXEMPT-INVALID"]
    assert (invalid.blocks, invalid.source) == (True, "__main__.py:22")
    [unused] = [item for item in result.findings if item.outcome == "unused"]
    assert (unused.blocks, unused.source) == (False, "__main__.py:24")
    text = " ".join(result.text("txt").split())
    assert f"until {END} at __main__.py:9: the orders of the shop are public" in text
    assert "4 exempted" in text
    # The central configuration has a veto, and an audit ignores comments.
    for options in (
        {"configuration": Configuration(no_code_exemptions=("GH-S*",))},
        {"variables": policy_check.exemptions(None, ignore=True)},
    ):
        vetoed = policy_check.check(tmp_path, "prod", **options)
        assert not [item for item in vetoed.findings if item.outcome == "exempted"]
        assert ("GH-SNS-001", "orders") in {
            (item.rule, item.urn.rpartition("::")[2]) for item in vetoed.findings if item.blocks
        }


@pytest.mark.parametrize(("comment", "error"), _CASES["invalid_comment_has_a_fix"])
def test_invalid_comment_has_a_fix(tmp_path: Path, comment: str, error: str) -> None:
    [found] = comments(tmp_path, f"{comment}\nx = 1\n")
    assert error in found.error
    assert ". Fix: " in found.error


def test_configuration_can_forbid_comments(tmp_path: Path) -> None:
    [allowed] = comments(tmp_path, f"{VALID}\nx = 1\n", "GH-IAM-*")
    assert allowed.error == ""
    [denied] = comments(tmp_path, f"{VALID}\nx = 1\n", "GH-S3-*")
    assert "no_code_exemptions" in denied.error


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (f"{VALID}\nx = 1\n", (2, 2)),
        (f"x = 1  {VALID}\ny = 2\n", (1, 1)),
        (f"{VALID}\n# More.\nx = f(\n  1,\n)\n", (3, 5)),
        (f"x = f(\n  1,  {VALID}\n)\n", (1, 3)),
        (f"{VALID}\n\nx = 1\n", (1, 1)),  # a comment of its own
        (f"{VALID}\ndef f():\n  x = 1\n", (2, 2)),  # not the body
        (f"def f():\n  {VALID}\n  x = 1\n", (3, 3)),
        (f"{VALID}\nfor a in (\n  1,\n):\n  x = 1\n", (2, 4)),
    ],
)
def test_comment_belongs_to_its_statement(
    tmp_path: Path, text: str, lines: tuple[int, int]
) -> None:
    [comment] = comments(tmp_path, text)
    assert (comment.first, comment.last) == lines


@pytest.mark.parametrize("text", ["x = (", f"\0{VALID}", f"s = '''\n{VALID}\n'''\n"])
def test_text_that_is_no_comment_is_ignored(tmp_path: Path, text: str) -> None:
    assert comments(tmp_path, text) == []
    assert list(read(tmp_path / "absent.py", "absent.py", TODAY, (), KNOWN)) == []


@given(st.text(st.characters(exclude_characters="\r\n\f", exclude_categories=["Cs"])))
def test_any_comment_is_valid_or_has_a_fix(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    folder = tmp_path_factory.getbasetemp()
    for comment in comments(folder, f"x = 1  # gatehouse:exempt {text}\n"):
        assert not comment.error or ". Fix: " in comment.error
