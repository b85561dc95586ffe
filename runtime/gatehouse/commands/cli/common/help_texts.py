"""Prepares the help of the commands: plain text that is wrapped to the width of the terminal, with
names of values instead of Python types."""

import re
from typing import Any

#: Typer wraps a paragraph unless a line with this character precedes it.
_UNWRAPPED = "\b\n"
#: Longer lists of values would not fit into the column of the names.
_CHOICES_CHARS_MAX = 50
_EXAMPLE = re.compile(r"^(?=Examples?: )", re.MULTILINE)


def prepare(command: Any, parent: Any = None) -> None:
    """Changes a command of Typer and all commands below it. `parent`: the context above it."""
    command.rich_markup_mode = None
    command.help = _EXAMPLE.sub(_UNWRAPPED, command.help or "")
    context = command.make_context(command.name, [], parent=parent, resilient_parsing=True)
    for parameter in command.params:
        _set_form(parameter, parameter.display_type(context))
    for inner in getattr(command, "commands", {}).values():
        prepare(inner, context)


def _set_form(parameter: Any, form: str) -> None:
    """`form`: how Typer shows the values, such as <str>, <test|live> or <list[a|b]>."""
    is_argument = parameter.param_type_name == "argument"
    name = parameter.name if is_argument else parameter.opts[0].strip("-").replace("-", "_")
    choices = form.replace("list[", "").replace("]", "")
    is_short = "|" in form and len(choices) <= _CHOICES_CHARS_MAX
    if is_short:
        parameter.display_type = lambda _: choices
    elif is_argument:
        parameter.display_type = lambda _: ""  # "ID" instead of "ID <str>"
    if is_argument or not (is_short or parameter.is_flag):
        parameter.metavar = parameter.metavar or name.upper()
    if "|" in form and not is_short:
        parameter.help += f" Values: {choices.strip('<>').replace('|', ', ')}."
