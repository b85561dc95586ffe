"""Markdown report."""

import re

from gatehouse_policies import catalogue
from gatehouse_policies.reports.markdown import markdown

from tests.policies.reports.builders import RUN, URN, violation


def test_finding_is_a_row_with_a_link() -> None:
    page, rule = markdown([violation()], RUN), catalogue.rule("GH-S3-001")

    assert (
        f"| mandatory | [GH-S3-001]({rule.url}) | {violation().message} | {rule.remedy} |" in page
    )
    assert "`aws:s3/bucket:Bucket` · `components/bucket.py:88`" in page


def test_pipe_in_message_is_escaped() -> None:
    assert "a \\| b" in markdown([violation(message="a | b. Fix: c")], RUN)


def test_page_fits_into_a_comment() -> None:
    page = markdown([violation(urn=f"{URN}-{number}") for number in range(1000)], RUN)
    assert len(page) < 65_536
    assert re.search(r"\n\d+ other resources with findings: see the other reports\.$", page)
