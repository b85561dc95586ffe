"""What a release needs before anything is touched: the stack, the Pulumi CLI, its login, the AWS account, an image.

Every check answers with None or one sentence that says what is missing and what to type; all are made before the first is told.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.exceptions import BotoCoreError, ClientError

ROOT = Path(__file__).resolve().parent.parent
PACKS = ("policies/security", "policies/resilience")
#: Oldest CLI that speaks what the program and the packs use (`pulumi policy analyze --file` came with 3.249).
CLI_MIN = (3, 249, 0)
_NO_IMAGE = "sha256:" + "0" * 64


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack file as a release needs it: name, account (12 digits), region, image digest."""

    name: str
    account: str
    region: str
    image_digest: str


def known_stacks(root: Path = ROOT) -> list[str]:
    """The names that `Pulumi.<name>.yaml` files give."""
    return sorted(path.name.split(".")[1] for path in root.glob("Pulumi.*.yaml"))


def read_stack(name: str, root: Path = ROOT) -> Stack:
    """Raises ValueError with one sentence when there is no such stack or its file has no settings."""
    stacks = known_stacks(root)
    if name not in stacks:
        said = f"no stack {name!r}" if name else "no stack was named"
        raise ValueError(f"{said}; say one of: {', '.join(f'ENV={stack}' for stack in stacks)}")
    config: dict[str, Any] = yaml.safe_load((root / f"Pulumi.{name}.yaml").read_text()).get("config", {})
    settings = config.get("gatehouse:settings")
    if not isinstance(settings, dict):
        raise ValueError(f"Pulumi.{name}.yaml has no gatehouse:settings")
    image = settings.get("image") or {}
    return Stack(
        name=name,
        account=str(settings.get("account", "")),
        region=str(settings.get("region", "")),
        image_digest=str(image.get("digest", "")),
    )


def missing(stack: Stack, *, image: bool, root: Path = ROOT) -> list[str]:
    """One sentence for each thing that is missing; `image` says whether a pushed image is needed too."""
    answers = [_cli(), _login(root), _account(stack), _image(stack) if image else None]
    return [answer for answer in answers if answer]


def _cli() -> str | None:
    path = shutil.which("pulumi")
    if path is None:
        return "the Pulumi CLI is not on PATH; install it: https://www.pulumi.com/docs/install/"
    version = subprocess.run([path, "version"], capture_output=True, text=True, timeout=30, check=False).stdout.strip()
    match = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version)
    if match and tuple(int(part) for part in match.groups()) < CLI_MIN:
        return (
            f"the Pulumi CLI is {version}; {'.'.join(map(str, CLI_MIN))} or newer is needed: https://www.pulumi.com/docs/install/"
        )
    return None


def _login(root: Path) -> str | None:
    path = shutil.which("pulumi")
    if path is None:
        return None  # said already
    who = subprocess.run([path, "whoami", "--non-interactive"], capture_output=True, text=True, timeout=60, check=False, cwd=root)
    return (
        None
        if who.returncode == 0
        else "the Pulumi CLI is not logged in; type: pulumi login s3://<state bucket>, or pulumi login"
    )


def _account(stack: Stack) -> str | None:
    try:
        session = boto3.Session(region_name=stack.region or None)
        if session.get_credentials() is None:
            return "there are no AWS credentials; type: aws sso login, or set AWS_PROFILE"
        found = session.client("sts").get_caller_identity()["Account"]
    except (BotoCoreError, ClientError) as exc:
        return f"AWS does not accept the credentials ({type(exc).__name__}); type: aws sso login, or set AWS_PROFILE"
    if found != stack.account:
        return (
            f"the AWS credentials belong to account {found}, the stack {stack.name} to {stack.account}; "
            f"change AWS_PROFILE, or `account` in Pulumi.{stack.name}.yaml"
        )
    return None


def _image(stack: Stack) -> str | None:
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", stack.image_digest) or stack.image_digest == _NO_IMAGE:
        return (
            f"Pulumi.{stack.name}.yaml names no image; push one (docs/guides/deploy.md) "
            "and set image.digest to its sha256:<64 hex digits>"
        )
    return None


def serving_processes(root: Path = ROOT) -> list[str]:
    """The processes of the contract that have a door, and so run as services."""
    processes: dict[str, dict[str, Any]] = tomllib.loads((root / "runtime" / "contract.toml").read_text())["process"]
    return [name for name, process in processes.items() if process["services"]]


def stack_output(stack: Stack, name: str, root: Path = ROOT) -> Any:
    """An export of the deployed stack. Raises ValueError when the stack or the export does not exist."""
    result = subprocess.run(
        ["pulumi", "stack", "output", name, "--json", "--stack", stack.name, "--non-interactive"],
        capture_output=True, text=True, timeout=120, check=False, cwd=root,
    )  # fmt: skip
    if result.returncode != 0:
        raise ValueError(f"the stack {stack.name} has no output {name!r}; was it deployed? type: make deploy ENV={stack.name}")
    return json.loads(result.stdout)
