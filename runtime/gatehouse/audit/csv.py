"""CSV that a spreadsheet shows and never runs: what a cell of ours may begin with, and how rows are written (RFC 4180)."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

#: What spreadsheets take for the beginning of a formula, wide forms included; and what they skip before it.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


_SKIPPED = " \t\r\n\0\ufeff"


def safe(text: str) -> str:
    """The cell, with an apostrophe in front where a spreadsheet would read a formula (or skip white space to find one)."""
    bare = text.lstrip(_SKIPPED)
    return f"'{text}" if bare.startswith(_FORMULA) or text[:1] in ("\t", "\r", "\n") else text


def line(cells: Sequence[str]) -> str:
    """One CSV line with its line end. Every cell is made safe and quoted."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerow([safe(cell) for cell in cells])
    return text.getvalue()
