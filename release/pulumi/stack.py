"""What a release needs of a stack file."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3
import yaml
from pulumi_local.errors import CommandError
from pulumi_local.files.yaml_file import read_stack_file
from pulumi_local.private_files import write_private

from components.naming import Naming
from components.settings.fields import NAME_PREFIX

ROOT = Path(__file__).resolve().parents[2]
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_DIGEST_LINE = re.compile(rf"^(\s+digest:\s*[\"']?){DIGEST.pattern}", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Project:
    """name: in Pulumi.yaml. folder: in the repository."""

    name: str
    folder: str = ""

    def target(self, stack: str) -> str:
        """The arguments of `make` that select a stack, such as "ENV=dev"."""
        return f"PROJECT={self.folder} ENV={stack}" if self.folder else f"ENV={stack}"


GATEHOUSE, ACCOUNT = Project("gatehouse"), Project("gatehouse-account", "account")
PROJECTS = {GATEHOUSE.name: GATEHOUSE, ACCOUNT.folder: ACCOUNT}


@dataclass(frozen=True, slots=True)
class Stack:
    """root: folder of the project, in which the Pulumi CLI runs.
    config_file: configuration that replaces the stack file for one update.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    project: Project = GATEHOUSE
    root: Path = ROOT
    config_file: Path | None = None

    def setting(self, *keys: str, default: str = "") -> str:
        """A value that the model of the settings has not validated."""
        value: Any = self.settings
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return str(value or default)

    @property
    def account(self) -> str:
        return self.setting("account")

    @property
    def region(self) -> str:
        return self.setting("region")

    @property
    def image_digest(self) -> str:
        return self.setting("image", "digest")

    @property
    def names(self) -> Naming:
        prefix = self.setting("name_prefix", default=NAME_PREFIX)
        path = self.setting("existing_resources", "role_path", default="/")
        return Naming(self.name, self.account, self.region, prefix, path)

    @property
    def cluster(self) -> str:
        return self.names.name("main")

    @property
    def path(self) -> Path:
        return self.root / f"Pulumi.{self.name}.yaml"

    @property
    def file(self) -> str:
        """Relative to the root of the repository."""
        return str(Path(self.project.folder, self.path.name))

    @property
    def target(self) -> str:
        return self.project.target(self.name)

    @property
    def options(self) -> str:
        """Of the Pulumi CLI, to select the stack."""
        folder = f"--cwd {self.project.folder} " if self.project.folder else ""
        return f"{folder}--stack {self.name}"

    def client(self, service: str, region: str = "") -> Any:
        """region: by default that of the stack."""
        create: Any = boto3.client
        return create(service, region_name=region or self.region or None)


def read_stack(name: str, root: Path = ROOT, project: Project = GATEHOUSE) -> Stack:
    """Raises ValueError if the stack file does not exist, is not valid YAML or has no settings."""
    stacks = sorted(path.name.split(".")[1] for path in root.glob("Pulumi.*.yaml"))
    if name not in stacks:
        known = ", ".join(map(project.target, stacks))
        raise ValueError(f"no stack {name!r}; use one of: {known}")
    path = root / f"Pulumi.{name}.yaml"
    try:
        document = read_stack_file(path, str(Path(project.folder, path.name)))
    except CommandError as exc:
        raise ValueError(exc.message) from None
    config = document.get("config")
    settings = config.get(f"{project.name}:settings") if isinstance(config, dict) else None
    if not isinstance(settings, dict):
        raise ValueError(f"{path.name} has no mapping {project.name}:settings")
    return Stack(name, settings, project, root)


@contextmanager
def with_setting(stack: Stack, section: str, key: str, value: str) -> Iterator[Stack]:
    """The stack with another value of a setting, for one update."""
    document = yaml.safe_load(stack.path.read_text(encoding="utf-8"))
    settings = document["config"][f"{stack.project.name}:settings"]
    settings[section] = (settings.get(section) or {}) | {key: value}
    with TemporaryDirectory(prefix="gatehouse-") as folder:
        file = Path(folder) / stack.path.name
        file.write_text(yaml.safe_dump(document), encoding="utf-8")
        yield replace(stack, config_file=file)


def write_digest(file: Path, digest: str) -> None:
    """Raises ValueError unless the stack file contains exactly one digest."""
    changed, count = _DIGEST_LINE.subn(rf"\g<1>{digest}", file.read_text(encoding="utf-8"))
    if count != 1:
        raise ValueError(f"{file.name}: {count} lines `digest: sha256:...` instead of one")
    mode = file.stat().st_mode
    write_private(file.resolve(), changed)
    file.chmod(mode)  # it contains no secret, and others read it
