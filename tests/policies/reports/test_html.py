"""HTML report."""

from dataclasses import replace
from html.parser import HTMLParser

from gatehouse_policies.gate import Gate
from gatehouse_policies.reports.html import html

from tests.policies.reports.builders import RUN, exempted, undecided, violation


class Page(HTMLParser):
    """The tags that are open at the end, and the texts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open += [] if tag in ("meta", "br") else [tag]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_page_has_findings_and_frameworks() -> None:
    page = Page(html([violation(), undecided(), exempted()], RUN))
    assert page.open == []
    for text in ("GH-S3-001", "critical", "undecided", "PCI DSS 4.0.1", "NIST SP 800-53 Rev. 5"):
        assert text in page.texts
    assert any("One public ACL" in text for text in page.texts)


def test_text_of_a_program_is_escaped() -> None:
    page = html([violation(urn="urn:pulumi:prod::a::b::<script>x", message="<b>. Fix: c")], RUN)
    assert "<script>" not in page
    assert "&lt;b&gt;" in page


def test_selected_framework_is_the_only_one() -> None:
    page = Page(html([], replace(RUN, gate=Gate(framework="cis"))))
    assert "CIS AWS Foundations Benchmark 7.0" in page.texts
    assert "PCI DSS 4.0.1" not in page.texts
