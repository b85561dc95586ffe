"""The error of a program or of a command."""


class CommandError(Exception):
    """An error that ends the command.

    `message` states the problem, its location (file and line, URN or setting) and the fix, and
    contains no secret.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
