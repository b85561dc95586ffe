"""Changes of settings for one deployment: `up --set section.key=value`."""

import json
from collections.abc import Sequence
from typing import Any

import yaml

from sandbox.errors import SandboxError

SETTINGS = "gatehouse:settings"


def apply_changes(settings: str, changes: Sequence[str]) -> str:
    """Apply changes such as "section.key=value" to the settings (JSON). Values are YAML.

    Raises SandboxError if the path is not in a section. The program itself rejects an unknown key.
    """
    document = json.loads(settings)
    for change in changes:
        path, sign, text = change.partition("=")
        *sections, key = path.split(".")
        section: Any = document
        for name in sections:
            section = section.setdefault(name, {}) if isinstance(section, dict) else None
        if not sign or not isinstance(section, dict):
            raise SandboxError(
                f"--set {change}: unknown setting {path!r}. Specify section.key=value with a "
                f"key from docs/settings.md."
            )
        try:
            section[key] = yaml.safe_load(text)
        except yaml.YAMLError as exc:
            raise SandboxError(f"--set {change}: the value is not valid YAML.") from exc
    return json.dumps(document)
