"""Prerequisites of a release: stack file, Pulumi CLI and login, AWS credentials, container image."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.exceptions import BotoCoreError, ClientError

ROOT = Path(__file__).resolve().parent.parent
PACKS = ("policies/security", "policies/resilience")
CLI_MIN = (3, 249, 0)
"""Oldest supported Pulumi CLI: `pulumi policy analyze --file` was added in 3.249."""
_PLACEHOLDER_DIGEST = "sha256:" + "0" * 64
_INSTALL = "https://www.pulumi.com/docs/install/"


@dataclass(frozen=True, slots=True)
class Stack:
    """The values of a stack file that a release needs.

    name: name of the stack.
    account: AWS account id, 12 digits.
    region: AWS region.
    image_digest: digest of the container image, or "".
    """

    name: str
    account: str
    region: str
    image_digest: str


def known_stacks(root: Path = ROOT) -> list[str]:
    """The names of the `Pulumi.<name>.yaml` files."""
    return sorted(path.name.split(".")[1] for path in root.glob("Pulumi.*.yaml"))


def read_stack(name: str, root: Path = ROOT) -> Stack:
    """Read a stack file. Raises ValueError if it does not exist or has no settings."""
    stacks = known_stacks(root)
    if name not in stacks:
        problem = f"no stack {name!r}" if name else "no stack specified"
        raise ValueError(f"{problem}; use one of: {', '.join(f'ENV={stack}' for stack in stacks)}")
    config: dict[str, Any] = yaml.safe_load((root / f"Pulumi.{name}.yaml").read_text()).get("config", {})
    settings = config.get("gatehouse:settings")
    if not isinstance(settings, dict):
        raise ValueError(f"Pulumi.{name}.yaml has no gatehouse:settings")
    image = settings.get("image") or {}
    return Stack(name, str(settings.get("account", "")), str(settings.get("region", "")), str(image.get("digest", "")))


def missing_prerequisites(stack: Stack, *, image: bool, root: Path = ROOT) -> list[str]:
    """One message for each missing prerequisite, with its fix. image: also require a pushed image."""
    messages = [_check_pulumi(root), _check_account(stack), _check_image(stack) if image else None]
    return [message for message in messages if message]


def _check_pulumi(root: Path) -> str | None:
    path = shutil.which("pulumi")
    if path is None:
        return f"the Pulumi CLI is not on PATH. Install it: {_INSTALL}"
    version = subprocess.run([path, "version"], capture_output=True, text=True, timeout=30, check=False).stdout.strip()
    match = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version)
    if match and tuple(map(int, match.groups())) < CLI_MIN:
        return f"the Pulumi CLI is {version}; {'.'.join(map(str, CLI_MIN))} or later is required: {_INSTALL}"
    command = [path, "whoami", "--non-interactive"]
    if subprocess.run(command, capture_output=True, timeout=60, check=False, cwd=root).returncode:
        return "the Pulumi CLI is not logged in. Run: pulumi login s3://<state bucket>, or pulumi login"
    return None


def _check_account(stack: Stack) -> str | None:
    try:
        session = boto3.Session(region_name=stack.region or None)
        if session.get_credentials() is None:
            return "no AWS credentials. Run: aws sso login, or set AWS_PROFILE"
        account = session.client("sts").get_caller_identity()["Account"]
    except (BotoCoreError, ClientError) as exc:
        return f"AWS rejected the credentials ({type(exc).__name__}). Run: aws sso login, or set AWS_PROFILE"
    if account != stack.account:
        return (
            f"the AWS credentials are for account {account}, but the stack {stack.name} is in account {stack.account}. "
            f"Change AWS_PROFILE, or `account` in Pulumi.{stack.name}.yaml"
        )
    return None


def _check_image(stack: Stack) -> str | None:
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", stack.image_digest) or stack.image_digest == _PLACEHOLDER_DIGEST:
        return (
            f"Pulumi.{stack.name}.yaml contains no image. Push an image (docs/guides/deploy.md) "
            "and set image.digest to its sha256:<64 hex digits>"
        )
    return None


def stack_output(stack: Stack, name: str, root: Path = ROOT) -> Any:
    """An output of the deployed stack. Raises ValueError if the stack or the output does not exist."""
    result = subprocess.run(
        ["pulumi", "stack", "output", name, "--json", "--stack", stack.name, "--non-interactive"],
        capture_output=True, text=True, timeout=120, check=False, cwd=root,
    )  # fmt: skip
    if result.returncode != 0:
        raise ValueError(f"the stack {stack.name} has no output {name!r}. Is it deployed? Run: make deploy ENV={stack.name}")
    return json.loads(result.stdout)
