"""Templates, Markdown tables and escaped prose for the generated pages."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

_TEMPLATES = Path(__file__).with_name("templates")
_CODE = re.compile(r"(`[^`]*`|\bGATEHOUSE_[A-Z_]+(?:=[a-z]+)?)")


def page(template: str, **values: object) -> str:
    """The template `templates/<template>.md` with its `{placeholders}` replaced."""
    return (_TEMPLATES / f"{template}.md").read_text().format(**values)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table. Pipes inside a cell are escaped."""
    lines = [tuple(head), tuple("---" for _ in head), *rows]
    return "\n".join(
        "|" + "|".join(cell.replace("|", "\\|") for cell in line) + "|" for line in lines
    )


def prose(text: str) -> str:
    """`text` on one line, with Markdown characters escaped and `GATEHOUSE_*` variables formatted as
    code.
    """
    pieces = enumerate(_CODE.split(" ".join(text.split())))
    return "".join(
        f"`{piece.strip('`')}`" if index % 2 else re.sub(r"([*<\\]|__)", r"\\\1", piece)
        for index, piece in pieces
    )
