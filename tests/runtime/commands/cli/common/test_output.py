"""The form of tables: whole IDs in a narrow terminal, and tab-separated values for programs."""

import io
import re
import sys
from types import SimpleNamespace

import pytest
from gatehouse.commands.cli.common import output

from tests.runtime.commands.cli.conftest import Command

ITEMS = [
    SimpleNamespace(
        id="R17srKQ0tx8M", name="payments\tof 日本 " + "x" * 60, owner="o" * 30, tags=[]
    )
]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_ids_are_whole_in_a_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", terminal)
    output.print_items(ITEMS, "name", "id", "owner", "tags", ("a long label", lambda item: 1))
    lines = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()
    assert any(" R17srKQ0tx8M " in line for line in lines)
    assert max(map(len, lines)) <= width
    assert ("a long label" in capsys.readouterr().err) is (width == 40)


def test_programs_receive_one_line_for_each_item(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_items(ITEMS, "id", "name", "tags")
    assert capsys.readouterr().out == f"R17srKQ0tx8M\tpayments\ufffdof 日本 {'x' * 60}\t\n"


@pytest.mark.parametrize(
    ("options", "start"),
    [
        (("--output", "tsv"), "{id}\t"),
        (("--output", "json"), "["),
        (("--json",), "["),
        (("--output", "table"), "┏"),
    ],
)
def test_form_of_the_output_is_an_option(
    operator: Command, options: tuple[str, ...], start: str
) -> None:
    id = operator.create_key()
    result = operator.run("keys", "list", *options)
    assert result.code == 0, result.err
    assert result.out.startswith(start.format(id=id))
