"""The error of the sandbox."""

from pulumi_local.errors import CheckError


class SandboxError(CheckError):
    """An error that ends the command: see `CheckError`, which programs and policy packs raise."""
