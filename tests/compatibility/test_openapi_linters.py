"""`make compatibility`: Redocly and Spectral report nothing about the OpenAPI documents."""

import json
import shutil
from pathlib import Path

import pytest

from tests import processes, requires
from tests.compatibility.test_generated_clients import CLIENTS, DOCUMENTS
from tools import nodejs

pytestmark = [pytest.mark.slow, requires.program("npm")]

REDOCLY = ("redocly", "lint", "--config", "redocly.yaml", "--max-problems", "1000")
SPECTRAL = ("spectral", "lint", "--ruleset", "spectral.yaml", "--fail-severity", "hint")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("linters")
    for name in ("package.json", "package-lock.json", "redocly.yaml", "spectral.yaml"):
        shutil.copy(CLIENTS / name, folder)
    command = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    processes.run(command, cwd=folder, env=nodejs.environment(), check=True, timeout=None)
    return folder


def problems(folder: Path, document: object, *command: str) -> str:
    """What the linter prints if it fails; warnings too."""
    (folder / "document.json").write_text(json.dumps(document))
    environ = {**nodejs.environment(), "REDOCLY_TELEMETRY": "off", "NO_COLOR": "1"}
    arguments = ("npx", *command, "document.json")
    result = processes.run(arguments, cwd=folder, env=environ, timeout=None)
    printed = result.stdout + result.stderr
    return printed if result.returncode or "arning " in printed else ""


@pytest.mark.parametrize("service", DOCUMENTS)
@pytest.mark.parametrize("linter", [REDOCLY, SPECTRAL], ids=lambda command: command[0])
def test_document_has_no_problem(folder: Path, linter: tuple[str, ...], service: str) -> None:
    document = DOCUMENTS[service]()
    assert problems(folder, document, *linter) == ""
    del document["servers"]
    assert "servers" in problems(folder, document, *linter).lower()
