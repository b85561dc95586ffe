"""CSV cells that spreadsheets do not interpret as formulas."""

from __future__ import annotations

import csv
import io

import pytest
from gatehouse.features.audit.routes import csv_cell, csv_line
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        " =cmd|' /C calc'!A0",
        "\uff1d1",
        "\ufeff=1",
        '=HYPERLINK("http://x")',
    ],
)
def test_formula_is_prefixed_with_an_apostrophe(text: str) -> None:
    assert csv_cell(text) == f"'{text}"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("x;=HYPERLINK(1);y", "x;'=HYPERLINK(1);y"),
        ("x\t@SUM(1)", "x\t'@SUM(1)"),
        ("x\n+1;-1", "x\n'+1;'-1"),
        ("x; =1", "x;' =1"),
        ("\t=1", "'\t'=1"),
        ("\r\n=1", "'\r\n'=1"),
        (" \t=1", " \t'=1"),
        ('a\n"=1', "a\n'\"=1"),
    ],
)
def test_formula_behind_another_separator_is_escaped(text: str, escaped: str) -> None:
    assert csv_cell(text) == escaped
    line = csv_line(["a", text])
    for delimiter in (",", ";", "\t"):
        cells = [
            cell
            for row in csv.reader(io.StringIO(line, newline=""), delimiter=delimiter)
            for cell in row
        ]
        assert not [cell for cell in cells if cell.lstrip().startswith(("=", "+", "-", "@"))]


@pytest.mark.parametrize("text", ["", "a", "a=1", "12", "2031-01-01T00:00:00Z", " a", "'=1"])
def test_other_text_is_unchanged(text: str) -> None:
    assert csv_cell(text) == text


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1, max_size=5)
)
def test_line_parses_to_the_escaped_cells(cells: list[str]) -> None:
    text = csv_line(cells)
    assert list(csv.reader(io.StringIO(text, newline=""))) == [[csv_cell(cell) for cell in cells]]
