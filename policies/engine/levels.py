"""Writes the levels of every rule as the files that --policy-pack-config takes: one a pack and environment."""

import json
from pathlib import Path

from policies.catalogue import PACKS, level_config
from policies.engine.rule import ENVIRONMENTS

_FOLDER = Path(__file__).parents[1]


def path(pack: str, environment: str) -> Path:
    """Where the levels of a pack in an environment are kept."""
    return _FOLDER / pack / "levels" / f"{environment}.json"


def text(pack: str, environment: str) -> str:
    """What the file must hold."""
    return json.dumps(level_config(pack, environment), indent=2, sort_keys=True) + "\n"


def write() -> list[Path]:
    """Writes all files and returns those that changed."""
    changed = []
    for pack in PACKS:
        for environment in ENVIRONMENTS:
            file = path(pack, environment)
            wanted = text(pack, environment)
            if not file.exists() or file.read_text(encoding="utf-8") != wanted:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(wanted, encoding="utf-8")
                changed.append(file)
    return changed
