"""Part of `make check`: checks the sources of the web UI with types that are generated from the OpenAPI document of the console.

Exit codes: 0 no error, or the web UI is not built because Node.js is missing; 1 an error.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from gatehouse.console.asgi import document
from gatehouse.console.web import FOLDER

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "runtime" / "web"
_LOCAL_NODE = ROOT / ".gatehouse" / "tools" / "node" / "bin"


def main() -> int:
    if not (FOLDER / "index.html").is_file():
        print("check: the types of the web UI are not checked, because the web UI is not built. Run: scripts/setup.sh")
        return 0
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}{os.pathsep}{_LOCAL_NODE}"}
    (SOURCES / "openapi.json").write_text(json.dumps(document()), encoding="utf-8")
    result = subprocess.run(["npm", "run", "check"], cwd=SOURCES, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        print(f"{result.stdout}{result.stderr}check: the web UI does not match the OpenAPI document of the console")
        return 1
    print("The types of the web UI match the OpenAPI document of the console.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
