"""Checks queries of CloudWatch Logs Insights against the part of its grammar that is in use
(CloudWatch Logs User Guide, "CloudWatch Logs Insights language query syntax").
"""

import re

_FIELD = r"(?!(?:by|as|and|or|not|like|asc|desc)\b)[@A-Za-z_][\w.]*"
_FLOOR = rf"floor\({_FIELD} / \d+\)"
_CALL = rf"[a-z_]+\((?:\*|{_FLOOR}|{_FIELD}(?:, ?\d+)?)\)"
_AGGREGATE = rf"{_CALL}(?: as {_FIELD})?"
_NAMED = rf"(?:{_CALL}|{_FIELD})(?: as {_FIELD})?"
_VALUE = r'(?:"[^"]*"|\d+)'
_CONDITION = rf"(?:{_FIELD} (?:=|!=|<|<=|>|>=|like) {_VALUE})"
_SORTED = rf"{_FIELD}(?: asc| desc)?"


def _list(item: str) -> str:
    return rf"{item}(?:, ?{item})*"


_COMMANDS = {
    "SOURCE": "'[^']+'",
    "fields": _list(_NAMED),
    "filter": rf"{_CONDITION}(?: (?:and|or) {_CONDITION})*",
    "stats": rf"{_list(_AGGREGATE)}(?: by {_list(_NAMED)})?",
    "parse": rf'{_FIELD} "[^"*]*\*[^"*]*" as {_FIELD}',
    "sort": _list(_SORTED),
    "limit": r"\d+",
}
#: The beginning of a query.
QUERY = re.compile(rf"(?:{'|'.join(_COMMANDS)}) ")


def invalid_part(query: str) -> str:
    """The first command that is not in the grammar. Empty: none."""
    columns: set[str] | None = None  # of the results of `stats`
    for command in (part.strip() for part in query.split("|")):
        name, _, rest = command.partition(" ")
        if name not in _COMMANDS or not re.fullmatch(_COMMANDS[name], rest):
            return command
        names = [re.sub(r".* as | (asc|desc)$", "", item) for item in re.split(r",\s*| by ", rest)]
        if name == "stats":
            columns = set(names)
        elif name == "sort" and columns is not None and not columns.issuperset(names):
            return command
    return ""
