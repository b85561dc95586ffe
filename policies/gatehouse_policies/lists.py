"""Lists that the owners of a repository change: the Regions that programs may use, and the tags of
each resource.
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
