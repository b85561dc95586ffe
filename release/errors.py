"""Errors of the release commands, and their output."""

from botocore.exceptions import BotoCoreError, ClientError

AWS_ERRORS = (ClientError, BotoCoreError)


class CommandFailed(Exception):
    """What was done before stays. Before anything is changed, ValueError is raised instead."""


class ServicesFailed(CommandFailed):
    """The ECS services were not updated, run another version, or are not healthy."""


def step(text: str) -> None:
    print(f"> {printable(text)}", flush=True)


def printable(line: str) -> str:
    """Without control characters, which text of others can contain."""
    return "".join(char if char.isprintable() else "\ufffd" for char in line.expandtabs())


def last_line(errors: str) -> str:
    return (errors.strip().splitlines() or ["no message"])[-1]
