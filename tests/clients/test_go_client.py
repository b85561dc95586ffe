"""The Go client: its source, its documents, and its requests to a running gateway and console."""

import re
import textwrap
from pathlib import Path

import pytest

from tests import processes, requires

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients/go"
#: Values that the blocks of documents use, and the packages of all blocks.
FRAGMENT = """package main

import (
\t"context"
\t"errors"
\t"fmt"
\t"net/http"
\t"net/url"

\tgatehouse "gatehouse.example/clients/go"
)

func block(
\tctx context.Context, gateway *gatehouse.Gateway, token, adminToken, privateKey string,
\torders, reports http.Handler, store func(string),
) error {
%s
\treturn nil
}

func main() {
\t_ = block
\t_, _, _, _ = errors.As, fmt.Println, http.NewServeMux, url.Parse
}
"""

pytestmark = [requires.program("go")]


def blocks() -> dict[str, str]:
    """The Go code of the documents, as whole files."""
    found = {}
    for path in (CLIENT / "README.md", ROOT / "docs/guides/protect-a-service.md"):
        texts = re.findall(r"^```go\n(.*?)^```$", path.read_text(), re.DOTALL | re.MULTILINE)
        assert texts, path
        for number, text in enumerate(texts, 1):
            whole = text if text.startswith("package") else FRAGMENT % textwrap.indent(text, "\t")
            found[f"{path.name} {number}"] = whole.replace("\n\t\n", "\n\n")
    return found


@pytest.mark.parametrize("folder", [CLIENT, ROOT / "tests/clients/drivers/go"])
def test_source_is_formatted_and_vetted(folder: Path) -> None:
    assert processes.run(("gofmt", "-l", folder), check=True).stdout == ""
    result = processes.run(("go", "vet", "./..."), cwd=folder, timeout=None)
    assert result.returncode == 0, result.stderr


def test_code_of_documents_compiles(tmp_path: Path) -> None:
    require = "require gatehouse.example/clients/go v0.0.0"
    replacement = f"replace gatehouse.example/clients/go => {CLIENT}"
    (tmp_path / "go.mod").write_text(f"module blocks\n\ngo 1.23\n\n{require}\n\n{replacement}\n")
    for name, text in blocks().items():
        folder = tmp_path / re.sub(r"\W", "_", name)
        folder.mkdir()
        (folder / "main.go").write_text(text)
    assert processes.run(("gofmt", "-d", tmp_path), check=True).stdout == ""
    result = processes.run(("go", "vet", "./..."), cwd=tmp_path, timeout=None)
    assert result.returncode == 0, result.stderr


def test_module_depends_on_the_standard_library_only() -> None:
    packages = processes.run(("go", "list", "-deps", "."), cwd=CLIENT, check=True).stdout.split()
    assert [name for name in packages if "." in name.partition("/")[0]] == [
        "gatehouse.example/clients/go"
    ]


def test_unit_tests_of_the_module() -> None:
    result = processes.run(("go", "test", "./..."), cwd=CLIENT, timeout=None)
    assert result.returncode == 0, result.stdout + result.stderr
