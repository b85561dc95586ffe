"""Reads and validates Pulumi.yaml and Pulumi.<stack>.yaml like the Pulumi CLI."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pulumi_local.errors import CommandError
from pulumi_local.files.yaml_file import read_mapping, read_stack_file
from pulumi_local.types import UNKNOWN


@dataclass(frozen=True)
class Project:
    """A Pulumi project with the configuration of one stack.

    root: folder of Pulumi.yaml; program: folder or file to run; config: values as text, objects as
    JSON, keyed by "namespace:key".
    unknown: keys of `config` whose values are unknown or contain unknown values, and "Pulumi ESC"
    if an environment of Pulumi ESC can set other keys.
    """

    name: str
    stack: str
    root: Path
    program: Path
    config: dict[str, str]
    unknown: tuple[str, ...] = ()

    @property
    def imports_environment(self) -> bool:
        """True if an environment of Pulumi ESC can set keys that the stack file does not set."""
        return _ENVIRONMENT in self.unknown


_ENVIRONMENT = "Pulumi ESC"


def load(directory: Path, stack: str, *, examples: Mapping[str, Any] | None = None) -> Project:
    """Read project and stack. Raises CommandError for a missing file or an invalid value.

    examples: values that replace those of the stack file, keyed by full key. If it is not None,
    encrypted values and values of Pulumi ESC are unknown, and a project may have no stack files.
    Otherwise these raise CommandError, because a deployment needs the values.
    """
    root = directory.resolve()
    document = read_mapping(_project_file(directory))
    name = _python_project(document)
    folder = root / str(document.get("stackConfigDir", ""))
    # Pulumi writes a stack file only for a stack that has configuration.
    is_written = examples is None or any(folder.glob("Pulumi.*.yaml"))
    stack_file = _stack_file(folder, stack) if is_written else folder / f"Pulumi.{stack}.yaml"
    stack_document = read_stack_file(stack_file) if is_written else {}
    environment = stack_document.get("environment")
    if environment and examples is None:
        raise CommandError(
            f"{stack_file.name}: `environment` imports values from Pulumi ESC, which only the "
            f"Pulumi engine reads. Set the values in `config`."
        )
    protect = _reject_secret if examples is None else lambda _: UNKNOWN
    config = _stack_config(name, stack_document, stack_file.name, protect)
    config |= {
        _full_key(name, key): _value(value, key, protect) for key, value in (examples or {}).items()
    }
    config = {
        **_project_config(name, document, config if not environment else None, stack, protect),
        **config,
    }
    unknown = tuple(sorted(key for key, value in config.items() if UNKNOWN in value)) + (
        (_ENVIRONMENT,) if environment else ()
    )
    return Project(
        name, stack, root, (root / str(document.get("main", "."))).resolve(), config, unknown
    )


def _project_file(directory: Path) -> Path:
    file = directory.resolve() / "Pulumi.yaml"
    if not file.parent.is_dir():
        raise CommandError(
            f"{directory} is not a folder. Specify the folder of a Pulumi program (with "
            f"Pulumi.yaml)."
        )
    if not file.is_file():
        raise CommandError(
            f"{directory} has no Pulumi.yaml. Specify the folder of a Pulumi program, or run "
            f"`pulumi new`."
        )
    return file


def _python_project(document: Mapping[str, Any]) -> str:
    name = document.get("name")
    if not isinstance(name, str) or not name:
        raise CommandError("Pulumi.yaml: `name` is missing. Add `name: <project>`.")
    runtime = document.get("runtime")
    language = runtime.get("name") if isinstance(runtime, dict) else runtime
    if language != "python":
        raise CommandError(
            f"Pulumi.yaml: runtime is {language!r}, but only Python programs run without the "
            f"Pulumi engine (`runtime: python`). Check the deployed stack: pulumi stack export "
            f"--file state.json, and --state state.json."
        )
    return name


def _stack_file(folder: Path, stack: str) -> Path:
    file = folder / f"Pulumi.{stack}.yaml"
    if not file.is_file():
        known = sorted(
            path.name[len("Pulumi.") : -len(".yaml")] for path in folder.glob("Pulumi.*.yaml")
        )
        raise CommandError(
            f"There is no stack {stack!r}: {file.name} does not exist. Available stacks: "
            f"{', '.join(known) or 'none'}."
        )
    return file


_Protect = Callable[[str], str]
"""The value of an encrypted setting at a place such as "Pulumi.dev.yaml: shop:password"."""


def _stack_config(
    project: str, document: dict[str, Any], file: str, protect: _Protect
) -> dict[str, str]:
    values = document.get("config") or {}
    if not isinstance(values, dict):
        raise CommandError(f"{file}: `config` must be a mapping of `namespace:key` to value.")
    return {
        _stack_key(project, key, file): _value(value, f"{file}: {key}", protect)
        for key, value in values.items()
    }


def _stack_key(project: str, key: Any, file: str) -> str:
    parts = str(key).replace(":config:", ":").split(":")
    if key is None or len(parts) > 2 or not all(parts):
        raise CommandError(
            f"{file}: {key!r} is not a configuration key. Write `name`, or `namespace:name`."
        )
    # The form `namespace:config:name` is valid too (ParseKey in
    # sdk/go/common/resource/config/key.go).
    return _full_key(project, str(key).replace(":config:", ":"))


def _project_config(
    project: str,
    document: dict[str, Any],
    configured: Mapping[str, str] | None,
    stack: str,
    protect: _Protect,
) -> dict[str, str]:
    """Defaults declared in Pulumi.yaml: `key: {type, default}`, `key: {value}` or the short `key:
    value`.

    configured: the keys that are set; None if Pulumi ESC can set any key.
    """
    result: dict[str, str] = {}
    values = document.get("config") or {}
    if not isinstance(values, dict):
        raise CommandError(
            "Pulumi.yaml: `config` must be a mapping of key to value, or of key to `type` and "
            "`default`."
        )
    for key, declared in values.items():
        full = _full_key(project, str(key))
        place = f"Pulumi.yaml: {key}"
        if not isinstance(declared, dict):
            result[full] = _value(declared, place, protect)
            continue
        if "value" in declared or "default" in declared:
            result[full] = _value(declared.get("value", declared.get("default")), place, protect)
        elif configured is not None and full not in configured:
            raise CommandError(
                f"Stack {stack!r} is missing configuration value {key!r}. Add `{full}: "
                f"<value>` to Pulumi.{stack}.yaml."
            )
    return result


def _full_key(project: str, key: str) -> str:
    return key if ":" in key else f"{project}:{key}"


def _value(value: Any, place: str, protect: _Protect) -> str:
    try:
        value = _without_secrets(value, place, protect)
    except RecursionError:
        raise CommandError(f"{place} contains itself through an alias. Remove the alias.") from None
    if isinstance(value, dict | list):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _without_secrets(value: Any, place: str, protect: _Protect) -> Any:
    if isinstance(value, list):
        return [
            _without_secrets(item, f"{place}[{index}]", protect) for index, item in enumerate(value)
        ]
    if not isinstance(value, dict):
        return value
    if set(value) == {"secure"} and not (isinstance(value["secure"], str) and value["secure"]):
        raise CommandError(
            f"{place}: `secure` has no ciphertext. Set the value with: pulumi config set "
            f"--secret KEY VALUE"
        )
    if set(value) == {"secure"} or any(str(key).startswith("fn::") for key in value):
        return protect(place)
    return {key: _without_secrets(item, f"{place}.{key}", protect) for key, item in value.items()}


def _reject_secret(place: str) -> str:
    raise CommandError(
        f"{place} is encrypted (`secure:`), and only the Pulumi engine can decrypt it. "
        "Use a plain value, or let the stack create the secret in Secrets Manager."
    )
