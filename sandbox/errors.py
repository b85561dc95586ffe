"""The error of the sandbox."""


class SandboxError(Exception):
    """An error that ends the command.

    `message` says what is wrong, where (file and line, URN or setting) and what to do. It contains no secret.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
