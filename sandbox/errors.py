"""The error of the sandbox."""

from pulumi_local.errors import CommandError


class SandboxError(CommandError):
    """An error that ends the command: see `CommandError`, which programs and policy packs raise."""
