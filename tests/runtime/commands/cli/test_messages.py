"""Every message of the commands is for people: one line, without regular expressions, locations in
requests and repetitions, with the option that was typed.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gatehouse.commands import cli

from tests.runtime.commands.cli.conftest import Command, leaf_commands
from tests.runtime.services.console.test_messages import readable

ROOT = Path(__file__).resolve().parents[4]
LOCATION = re.compile(r"\b(?:body|query|path|header)[.\[]|\w\[\d+\]|_s\b")
CONNECTION = {"console", "token", "profile", "as_json", "output", "repeat", "help"}
#: Options of which each value is valid, or which name a file.
FREE = {
    "reason",
    "notes",
    "description",
    "label",
    "recipient",
    "purpose",
    "file",
    "passphrase_file",
}
#: Values of required arguments and options.
REQUIRED = {
    **dict.fromkeys(("--name", "--id"), "a"),
    **{"--quota": "1", "--window": "1m", "--url": "https://hooks.example.com/"},
    **{"version": "1", "enabled": "off", "plan": "a", "limit_name": "a"},
}


def console_commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    for words, command in leaf_commands(cli.command_line()):
        if "console" in {each.name for each in command.params}:
            yield words, command


def wrong_values() -> Iterator[tuple[tuple[str, ...], str]]:
    """Command lines with one wrong value, and the option."""
    for words, command in console_commands():
        id = "8Wq2LrT5xKc9VbN4mZs7Pd" if words[0] == "secrets" else "3fGh82kLmQ0a"
        options = [each for each in command.params if each.param_type_name == "option"]
        for option in options:
            if option.is_flag or option.name in CONNECTION | FREE:
                continue
            is_filter = option.opts[0].startswith("--filter-")
            required = [
                each
                for each in command.params
                if each.required
                or (words[-1] == "update" and each not in options and not is_filter)
            ]
            typed = [
                text
                for each in required
                for text in (
                    (each.opts[0], REQUIRED.get(each.opts[0], "a"))
                    if each in options
                    else (REQUIRED.get(each.name, option.name if each.name == "file" else id),)
                )
            ]
            change = ("--tag", "a") if is_filter else ()
            yield (*words, *typed, *change, option.opts[0], "Ä !"), option.opts[0]


CASES = [*wrong_values()]


def test_cases_are_complete() -> None:
    assert len(CASES) > 150


@pytest.mark.parametrize("words", sorted({case[0][:2] for case in CASES}), ids=" ".join)
def test_messages_are_for_people(operator: Command, words: tuple[str, ...]) -> None:
    for line, option in CASES:
        if line[:2] == words:
            result = operator.run(*line, stdin="content")
            assert result.err.count("\n") <= 2, (line, result.err)
            readable(result.err.partition(" See: ")[0].replace("Ä", ""))
            assert not LOCATION.search(result.err), (line, result.err)
            if result.code == 2:
                is_valid = "add --yes" in result.err or "no console" in result.err
                assert is_valid or option in result.err, (line, result.err)


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        (
            ("--ttl", "0s", "--tag", "Ä", "--tag", "Ö", "--scope", "Bad Scope", "--core", "-a"),
            [
                "--ttl must be at least 1s",
                "--tag must be 1 to",
                "--scope must be",
                "--core must be",
            ],
        ),
        (("--ttl", "9999d"), ["--ttl must be at most 3650d"]),
        (("--limit", "0/1m"), ["--limit quota must be at least 1"]),
        (("--ttl", "1d", "--expires-at", "2099-01-01"), ["--expires-at and --ttl are mutually"]),
        (("--metadata", "a b=c"), ["--metadata a b has a name that must be 1 to"]),
    ],
)
def test_all_wrong_options_are_named_once(
    operator: Command, options: tuple[str, ...], messages: list[str]
) -> None:
    result = operator.run("keys", "create", "--name", "a", *options)
    assert result.code == 2
    assert [result.err.count(message) for message in messages] == [1] * len(messages), result.err
    readable(result.err)


def test_states_have_the_same_words_as_in_the_web_ui() -> None:
    texts = (ROOT / "runtime/web/src/locales/en.ts").read_text()
    states = re.findall(r"'(?:key|core|secret|delivery)\.state\.(\w+)': '(.*)'", texts)
    assert len(states) > 15
    assert [label for state, label in states if label.lower() != state] == []
