"""Part of `make check`: checks the sources of the web UI with types that are generated from the
OpenAPI document of the console.

Exit codes: 0 no error, or the web UI is not built because Node.js is missing; 1 an error.
"""

import json
import subprocess
import sys
from pathlib import Path

from gatehouse.services.console.routes import document
from gatehouse.services.console.web import FOLDER

from tools import nodejs

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "runtime" / "web"


def main() -> int:
    if not (FOLDER / "index.html").is_file():
        print(
            "check: the types of the web UI are not checked, because the web UI is not built. "
            "Run: scripts/setup.sh"
        )
        return 0
    (SOURCES / "openapi.json").write_text(json.dumps(document()))
    command = ["npm", "run", "check"]
    result = subprocess.run(
        command, cwd=SOURCES, env=nodejs.environment(), capture_output=True, text=True, check=False
    )
    if result.returncode:
        print(
            f"{result.stdout}{result.stderr}check: the web UI does not match the OpenAPI "
            f"document of the console"
        )
        return 1
    print("The types of the web UI match the OpenAPI document of the console.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
