"""The Python code on the pages that uses the client: mypy accepts it with `strict`, and the tests
in it pass.
"""

import re
import sys
from pathlib import Path

import pytest

from tests import processes

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("clients/*/README.md")])
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
#: Django has no types.
SETTINGS = "[mypy]\nstrict = true\n[mypy-django.*]\nignore_missing_imports = true\n"


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, files = tmp_path_factory.mktemp("blocks"), []
    for page in PAGES:
        for number, block in enumerate(BLOCK.findall(page.read_text())):
            if "gatehouse_client" in block:
                files.append(folder / f"{page.stem.lower().replace('-', '_')}_{number}.py")
                files[-1].write_text(block)
    return files


def mypy(folder: Path, *files: Path) -> str:
    (folder / "mypy.ini").write_text(SETTINGS)
    options = ("--config-file", folder / "mypy.ini", "--cache-dir", folder / "cache")
    environment = {"MYPYPATH": str(ROOT / "clients/python"), "PATH": ""}
    command: list[str | Path] = [sys.executable, "-m", "mypy", *options, *files]
    return processes.run(command, cwd=folder, env=environment).stdout


def test_code_blocks_have_strict_types(blocks: list[Path]) -> None:
    assert len(blocks) >= 9
    broken = blocks[0].with_name("broken.py")
    broken.write_text(
        "from gatehouse_client import GatewayClient\n"
        "from gatehouse_client.flask import RequireKey\n"
        "gateway = GatewayClient('http://a')\n"
        "gateway.verify('a', scope=['b'])\n"
        "RequireKey(gateway)(['a'], costs=5)\n"
        "print(gateway.verify('a').code == 'RATE_LIMITD')\n"
    )
    output = mypy(broken.parent, *blocks, broken)
    assert "Found 3 errors in 1 file" in output, output
    for number in (4, 5, 6):
        assert f"broken.py:{number}: error" in output


def test_tests_in_code_blocks_pass(blocks: list[Path]) -> None:
    tests = [block for block in blocks if "def test_" in block.read_text()]
    assert tests
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *tests,
    ]
    result = processes.run(command, cwd=tests[0].parent)
    assert result.returncode == 0, result.stdout
