"""Builds the documentation site: `make site`. Prints the path of its first page."""

import sys
from pathlib import Path

from tools import nodejs
from tools.site import build

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / ".gatehouse" / "site"


def main() -> int:
    print("site: building the pages, which takes about a minute", flush=True)
    try:
        build.build(TARGET)
    except (build.SiteError, nodejs.InstallationError) as error:
        print(f"site: {error}", file=sys.stderr)
        return 1
    print(f"site: {TARGET.relative_to(ROOT)}/html/index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
