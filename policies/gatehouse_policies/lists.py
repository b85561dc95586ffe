"""Lists of names: the Regions that programs may use and the tags of each resource, which the owners
of a repository change, and lists in the text of a rule.
"""

import tomllib
from pathlib import Path

_FOLDER = Path(__file__).parent
REQUIRED_TAGS: list[str] = tomllib.loads(
    (_FOLDER / "required_tags.toml").read_text(encoding="utf-8")
)["tags"]
ALLOWED_REGIONS: list[str] = tomllib.loads(
    (_FOLDER / "allowed_regions.toml").read_text(encoding="utf-8")
)["regions"]


def name_set(text: str) -> frozenset[str]:
    return frozenset(text.split())
