"""The one error the sandbox shows to a person: what is wrong, where, and what to type; never a traceback."""


class SandboxError(Exception):
    """A run that cannot go on.

    `message` is complete and public: it names the place (a file and line, a resource URN, a setting) and what to do
    about it. It never carries a secret value.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message
