"""Mistakes in a stack file, before the Pulumi CLI runs."""

from pathlib import Path

import pytest

from release.__main__ import main

SETTINGS = "config:\n  gatehouse:settings:\n"


@pytest.mark.requirement("CG-24")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("config:\n\tgatehouse:settings: 1\n", "Pulumi.dev.yaml:2: not valid YAML: "),
        ("", "Pulumi.dev.yaml has no gatehouse:settings"),
        ("- config\n", "Pulumi.dev.yaml: expected a mapping at the top level"),
        (
            "config:\n  gatehouse:settings: dev\n",
            "Pulumi.dev.yaml: gatehouse:settings is not a mapping of settings",
        ),
        ("config:\n  gatehouse:setings: {}\n", "Pulumi.dev.yaml has no gatehouse:settings"),
    ],
)
def test_mistake_is_one_message(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "Pulumi.dev.yaml").write_text(text)
    assert main(["preview", "--env", "dev", "--root", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"preview: {message}")
