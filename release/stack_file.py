"""Reads the values of a stack file that a release needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Stack:
    """The values of a stack file that a release needs.

    name: name of the stack.
    account: AWS account ID, 12 digits.
    region: AWS region.
    image_digest: digest of the container image, or "".
    settings: `gatehouse:settings`.
    secrets_provider: URL of the KMS key that encrypts the secrets of the stack, or "".
    has_salt: True if the secrets of the stack are encrypted with a passphrase.
    """

    name: str
    account: str
    region: str
    image_digest: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    secrets_provider: str = ""
    has_salt: bool = False


def known_stacks(root: Path = ROOT) -> list[str]:
    """The names of the `Pulumi.<name>.yaml` files."""
    return sorted(path.name.split(".")[1] for path in root.glob("Pulumi.*.yaml"))


def read_stack(name: str, root: Path = ROOT) -> Stack:
    """Read a stack file. Raises ValueError if it does not exist or has no settings."""
    stacks = known_stacks(root)
    if name not in stacks:
        problem = f"no stack {name!r}" if name else "no stack specified"
        raise ValueError(f"{problem}; use one of: {', '.join(f'ENV={stack}' for stack in stacks)}")
    document: dict[str, Any] = yaml.safe_load((root / f"Pulumi.{name}.yaml").read_text())
    settings = document.get("config", {}).get("gatehouse:settings")
    if not isinstance(settings, dict):
        raise ValueError(f"Pulumi.{name}.yaml has no gatehouse:settings")
    image = settings.get("image") or {}
    return Stack(
        name,
        account=str(settings.get("account", "")),
        region=str(settings.get("region", "")),
        image_digest=str(image.get("digest", "")),
        settings=settings,
        secrets_provider=str(document.get("secretsprovider", "")),
        has_salt="encryptionsalt" in document,
    )
