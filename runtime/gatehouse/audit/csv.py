"""CSV (RFC 4180) whose cells spreadsheets do not interpret as formulas."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

#: First characters of a formula in spreadsheets, full-width forms included, and characters that they skip before it.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_SKIPPED = " \t\r\n\0\ufeff"


def escape(text: str) -> str:
    """The cell, prefixed with an apostrophe if a spreadsheet would read a formula or skip leading white space."""
    return f"'{text}" if text.lstrip(_SKIPPED).startswith(_FORMULA) or text[:1] in ("\t", "\r", "\n") else text


def line(cells: Sequence[str]) -> str:
    """One line with its line end. Each cell is escaped and quoted."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerow([escape(cell) for cell in cells])
    return text.getvalue()
