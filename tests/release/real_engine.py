"""A project whose stack `dev` is deployed by the real Pulumi CLI: S3 and KMS of moto, a fake ECS, and `aws_provider.py`."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sandbox.emulator.server import Emulator
from tests.release.fake_aws import ROOT, FakeAccount, own_stack_file

REGION, BUCKET = "eu-west-1", "acme-state"
_PROVIDER = """#!/bin/sh
PYTHONPATH={root} exec {python} -m tests.release.aws_provider "$@"
"""


@dataclass
class DeployedAccount(FakeAccount):
    """A fake account whose ECS services run the task definitions that the provider has set.

    log: file with the operations of the provider. migrations: number of migrations that were started.
    """

    log: Path = field(default_factory=Path)
    migrations: int = 0

    def operations(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def ecs(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        if action == "RunTask":
            self.migrations += 1
            return {"tasks": [{"taskArn": "arn:aws:ecs:eu-west-1:1:task/main/abc"}], "failures": []}
        return super().ecs(action, request)

    def _service(self, name: str) -> dict[str, Any]:
        history = [row["taskDefinition"] for row in self.operations() if row.get("service") == name]
        if not history:
            return {"serviceName": name, "status": "INACTIVE", "deployments": []}
        previous = next((arn for arn in reversed(history) if arn != history[-1]), history[-1])
        definition = previous if self.rolls_back else history[-1]
        primary = {
            "status": "PRIMARY",
            "id": f"ecs-svc/{definition}",
            "taskDefinition": definition,
            "rolloutState": "COMPLETED",
            "runningCount": 1,
            "desiredCount": 1,
        }
        return {"serviceName": name, "status": "ACTIVE", "deployments": [primary]}


class Project:
    """A folder with the program, the packs and the stack file of dev. Its environment is `.venv` of the repository."""

    def __init__(self, folder: Path, account: DeployedAccount, emulator: Emulator) -> None:
        self.folder, self.account = folder, account
        self.digests = 0
        self._control = folder / "control.json"
        account.log = folder / "provider.log"
        account.backend = f"s3://{BUCKET}?region={REGION}&endpoint={emulator.endpoint}&s3ForcePathStyle=true"
        self.environment = _environment(folder, account, emulator)
        self.control({})
        _write_program(folder)
        self.write_settings({})
        _create_backend(emulator)
        self.pulumi("stack", "init", "dev", "--secrets-provider", f"awskms://alias/state?region={REGION}")

    def control(self, control: Mapping[str, int]) -> None:
        """Set the operations at which the provider interrupts the command or fails."""
        self._control.write_text(json.dumps(control))

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        """Write the stack file with a new image and other settings."""
        file = self.folder / "Pulumi.dev.yaml"
        header = yaml.safe_load(file.read_text()) if file.exists() else {}
        document = yaml.safe_load(own_stack_file())
        self.digests += 1
        _merge(document["config"]["gatehouse:settings"], settings)
        text = yaml.safe_dump({**{key: value for key, value in header.items() if key != "config"}, **document})
        file.write_text(re.sub(r"digest: sha256:\w+", f"digest: sha256:{self.digests:064x}", text))

    @property
    def digest(self) -> str:
        """The digest in the stack file."""
        match = re.search(r"sha256:\w+", (self.folder / "Pulumi.dev.yaml").read_text())
        return match[0] if match else ""

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a release command."""
        command = [sys.executable, "-m", "release", *words, "--env", "dev", "--root", str(self.folder)]
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=self.environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def release(self, *words: str, interrupt: int = 0) -> tuple[int, str]:
        """Run a release command. Returns its exit code and its output. interrupt: operation during which it receives SIGINT."""
        process = self.start(*words)
        if interrupt:
            self.control({"interrupt": interrupt, "process": process.pid})
        output, _ = process.communicate()
        self.control({})
        return process.returncode, output

    def pulumi(self, *words: str) -> str:
        """Run a command of the CLI. Returns its output. Raises CalledProcessError."""
        command = ["pulumi", *words, "--non-interactive"]
        return subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=True).stdout

    def state(self) -> dict[str, Any]:
        """The state of the stack."""
        deployment: dict[str, Any] = json.loads(self.pulumi("stack", "export", "--stack", "dev"))["deployment"]
        return deployment

    def lost(self) -> Counter[str]:
        """The URNs of the resources that the provider has and the state has not, or the reverse (negative)."""
        existing = Counter[str]()
        for row in self.account.operations():
            existing[row["urn"]] += {"create": 1, "delete": -1}.get(row["operation"], 0)
        managed = Counter[str](
            row["urn"] for row in self.state().get("resources", []) if _is_aws(row) and not row.get("external")
        )
        existing.subtract(managed)
        return Counter({urn: number for urn, number in existing.items() if number})

    def pending_deletions(self) -> list[str]:
        """The URNs of the resources that were replaced and not deleted."""
        return [row["urn"] for row in self.state()["resources"] if row.get("delete")]


def _merge(settings: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping) and key in settings:
            _merge(settings[key], value)
        else:
            settings[key] = value


def _is_aws(row: Mapping[str, Any]) -> bool:
    return str(row["type"]).startswith("aws:")


def _environment(folder: Path, account: DeployedAccount, emulator: Emulator) -> dict[str, str]:
    removed = ("AWS_", "PULUMI_", "GITHUB_", "PYTHONPATH")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(removed)}
    key, secret = emulator.credentials
    return {
        **inherited,
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PULUMI_HOME": str(folder / "home"),
        "PULUMI_BACKEND_URL": account.backend,
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PROVIDER_LOG": str(account.log),
        "PROVIDER_CONTROL": str(folder / "control.json"),
        "NO_PROXY": "127.0.0.1",
        "AWS_ENDPOINT_URL": account.url,
        "AWS_ENDPOINT_URL_S3": emulator.endpoint,
        "AWS_ENDPOINT_URL_KMS": emulator.endpoint,
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def _write_program(folder: Path) -> None:
    """The program and the packs, with the environment of the repository, which the engine then does not change."""
    python = {"name": "python", "options": {"virtualenv": str(ROOT / ".venv")}}
    for name in ("Pulumi.yaml", "policies/security/PulumiPolicy.yaml", "policies/resilience/PulumiPolicy.yaml"):
        project = folder / name
        project.parent.mkdir(parents=True, exist_ok=True)
        (project.parent / "__main__.py").write_text((ROOT / name).with_name("__main__.py").read_text())
        project.write_text(yaml.safe_dump(yaml.safe_load((ROOT / name).read_text()) | {"runtime": python}))
    (folder / "runtime").symlink_to(ROOT / "runtime")  # the code of the functions
    binary = folder / "bin" / "pulumi-resource-aws"
    binary.parent.mkdir()
    binary.write_text(_PROVIDER.format(root=ROOT, python=sys.executable))
    binary.chmod(0o755)


def _create_backend(emulator: Emulator) -> None:
    emulator.client("s3", REGION).create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    kms = emulator.client("kms", REGION)
    kms.create_alias(AliasName="alias/state", TargetKeyId=kms.create_key()["KeyMetadata"]["KeyId"])
