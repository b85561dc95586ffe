"""Errors of the release commands."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError

AWS_ERRORS = (ClientError, BotoCoreError)


class CommandFailed(Exception):
    """A command failed. The message says what failed and what to do. What was done before stays. A
    command that is rejected before it changes anything raises ValueError.
    """


class DeploymentFailed(CommandFailed):
    """A step of a deployment failed. The message names the step and the state of the stack."""


class ServicesFailed(DeploymentFailed):
    """The update of the ECS services failed, or they do not run the expected version, or are not
    healthy.
    """


def code_of(error: Exception) -> str:
    """The error code of AWS, or the name of an error of the client."""
    return (
        error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
    )


@contextmanager
def translated(message: str, error: type[Exception] = CommandFailed) -> Iterator[None]:
    """Raise `error` instead of an error of AWS. message: contains {} for the error code."""
    try:
        yield
    except AWS_ERRORS as exc:
        raise error(message.format(code_of(exc))) from exc
