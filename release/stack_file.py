"""Reads the values of a stack file that a release needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from gatehouse_policies.errors import CheckError
from gatehouse_policies.program.yaml_file import read_stack_file

from components.naming import Naming

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Project:
    """A Pulumi project of the repository.

    name: name in Pulumi.yaml, the namespace of its settings.
    folder: folder in the repository, "" for the root.
    argument: argument of `make` that selects the project, "" for the project in the root.
    """

    name: str
    folder: str = ""
    argument: str = ""

    @property
    def repository(self) -> str:
        """Relative path from the folder of the project to the root of the repository, "" in the
        root.
        """
        return "../" if self.folder else ""


GATEHOUSE = Project("gatehouse")
ACCOUNT = Project("gatehouse-account", "account", "PROJECT=account")
PROJECTS = {GATEHOUSE.name: GATEHOUSE, "account": ACCOUNT}


@dataclass(frozen=True, slots=True)
class Stack:
    """The values of a stack file that a release needs.

    name: name of the stack.
    account: AWS account ID, 12 digits.
    region: AWS region.
    image_digest: digest of the container image, or "".
    settings: `gatehouse:settings`, or `gatehouse-account:settings`.
    secrets_provider: URL of the KMS key that encrypts the secrets of the stack, or "".
    has_salt: True if the secrets of the stack are encrypted with a passphrase.
    project: project of the stack.
    root: folder of the project, in which the Pulumi CLI runs.
    """

    name: str
    account: str
    region: str
    image_digest: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    secrets_provider: str = ""
    has_salt: bool = False
    project: Project = GATEHOUSE
    root: Path = ROOT

    @property
    def names(self) -> Naming:
        return Naming(self.name, self.account, self.region)

    @property
    def cluster(self) -> str:
        return self.names.name("main")

    def client(self, service: str) -> Any:
        create: Any = boto3.client
        return create(service, region_name=self.region or None)

    @property
    def file(self) -> str:
        return stack_file(self.name, self.project)

    @property
    def target(self) -> str:
        """The arguments of `make` that select the stack, such as "ENV=dev"."""
        return f"{self.project.argument} ENV={self.name}".lstrip()

    @property
    def options(self) -> str:
        """The options of the Pulumi CLI that select the stack, such as "--stack dev"."""
        folder = f"--cwd {self.project.folder} " if self.project.folder else ""
        return f"{folder}--stack {self.name}"


def stack_file(name: str, project: Project = GATEHOUSE) -> str:
    return str(Path(project.folder, f"Pulumi.{name}.yaml"))


def known_stacks(root: Path = ROOT) -> list[str]:
    """The names of the `Pulumi.<name>.yaml` files in the folder of a project."""
    return sorted(path.name.split(".")[1] for path in root.glob("Pulumi.*.yaml"))


def read_stack(name: str, root: Path = ROOT, project: Project = GATEHOUSE) -> Stack:
    """Read a stack file. Raises ValueError if it does not exist, is not valid YAML or has no
    settings.

    root: folder of the project.
    """
    stacks = known_stacks(root)
    if name not in stacks:
        problem = f"no stack {name!r}" if name else "no stack specified"
        known = ", ".join(f"{project.argument} ENV={stack}".lstrip() for stack in stacks)
        raise ValueError(f"{problem}; use one of: {known}")
    try:
        document = read_stack_file(root / f"Pulumi.{name}.yaml", stack_file(name, project))
    except CheckError as exc:
        raise ValueError(exc.message) from None
    config = document.get("config")
    settings = config.get(f"{project.name}:settings") if isinstance(config, dict) else None
    if settings is None:
        raise ValueError(f"{stack_file(name, project)} has no {project.name}:settings")
    if not isinstance(settings, dict):
        raise ValueError(
            f"{stack_file(name, project)}: {project.name}:settings is not a mapping of settings"
        )
    image = settings.get("image")
    return Stack(
        name,
        account=str(settings.get("account", "")),
        region=str(settings.get("region", "")),
        image_digest=str(image.get("digest", "")) if isinstance(image, dict) else "",
        settings=settings,
        secrets_provider=str(document.get("secretsprovider", "")),
        has_salt="encryptionsalt" in document,
        project=project,
        root=root,
    )
