"""Mistakes in a stack file, before the Pulumi CLI runs."""

import resource
from pathlib import Path

import pytest

from release.__main__ import main
from release.rollback import write_digest

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


def test_full_disk_keeps_the_stack_file(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.dev.yaml"
    text = f"{SETTINGS}    image:\n      digest: sha256:{'0' * 64}\n"
    file.write_text(text)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            write_digest(file, f"sha256:{'1' * 64}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert file.read_text() == text


def test_stack_file_keeps_its_mode_and_its_link(tmp_path: Path) -> None:
    file, link = tmp_path / "shared.yaml", tmp_path / "Pulumi.dev.yaml"
    file.write_text(f"image:\n  digest: sha256:{'0' * 64}\n")
    file.chmod(0o664)
    link.symlink_to(file)
    write_digest(link, f"sha256:{'1' * 64}")
    assert file.read_text().endswith(f"{'1' * 64}\n")
    assert (link.is_symlink(), file.stat().st_mode & 0o777) == (True, 0o664)
