"""Builds the distributions into dist/, and runs a command of each in a new environment:
`make release-check`.

dist/ then contains the wheels, the npm package, a software bill of materials (SBOM, CycloneDX 1.5)
for each, and SHA256SUMS.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tools import nodejs

ROOT = Path(__file__).resolve().parents[1]
_TYPESCRIPT = "clients/typescript"
_WEB_UI = "runtime/gatehouse/services/console/static/index.html"
_IMPORTS = "; ".join(
    f"await import('@gatehouse/client{path.removeprefix('.')}')"
    for path in json.loads((ROOT / _TYPESCRIPT / "package.json").read_text())["exports"]
)


class DistributionError(Exception):
    """A distribution cannot be built, installed or used. The message contains the command."""


@dataclass(frozen=True)
class Wheel:
    folder: str
    command: tuple[str, ...]
    """A command of the wheel, in the `bin` folder of an environment."""
    requires: tuple[str, ...] = ()
    """Wheels of this repository. An index does not have them, or has others of the name."""
    exit_code: int = 0


WHEELS: Mapping[str, Wheel] = {
    "gatehouse-client": Wheel("clients/python", ("python", "-c", "import gatehouse_client")),
    "gatehouse-pulumi": Wheel(
        "clients/pulumi", ("python", "-c", "import gatehouse_pulumi.server"), ("gatehouse-client",)
    ),
    "gatehouse-policies": Wheel(
        "policies",
        ("gatehouse-policies", "check", "--program", str(ROOT / "examples/leaky")),
        exit_code=1,  # The example violates mandatory rules.
    ),
    "gatehouse-runtime": Wheel("runtime", ("gatehouse", "version"), ("gatehouse-client",)),
}


def version() -> str:
    """The version of all distributions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return str(project["version"])


def build(target: Path) -> None:
    """Replaces the folder `target`. Raises DistributionError."""
    if not (ROOT / _WEB_UI).is_file():
        raise DistributionError("the web UI is not built; run scripts/build_web.sh")
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for name, wheel in WHEELS.items():
        hatch = (sys.executable, "-m", "hatchling", "build", "--target", "wheel")
        _run(*hatch, "--directory", str(target), cwd=ROOT / wheel.folder)
        options = ("--frozen", "--no-default-groups", "--format", "cyclonedx1.5")
        (target / f"{name}.cdx.json").write_text(_run("uv", "export", *options, "--package", name))
    _build_npm_package(target)
    sums = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(target.iterdir())
    ]
    (target / "SHA256SUMS").write_text("".join(sums))


def _build_npm_package(target: Path) -> None:
    """In a copy, because npm writes the version into package.json."""
    with tempfile.TemporaryDirectory() as temporary:
        # `npm sbom` names the component after the folder.
        copy = Path(temporary) / "@gatehouse/client"
        ignored = shutil.ignore_patterns("node_modules", "dist")
        shutil.copytree(ROOT / _TYPESCRIPT, copy, ignore=ignored)
        _run("npm", "version", version(), "--no-git-tag-version", cwd=copy)
        _run("npm", "ci", "--ignore-scripts", cwd=copy)
        _run("npm", "run", "build", cwd=copy)
        _run("npm", "pack", "--pack-destination", str(target), cwd=copy)
        options = ("--sbom-format", "cyclonedx", "--package-lock-only", "--omit", "dev")
        (target / "npm.cdx.json").write_text(_run("npm", "sbom", *options, cwd=copy))


def check(target: Path) -> None:
    """Installs each distribution of `target` in an environment of its own, and runs a command of
    it there. Raises DistributionError.
    """
    for name, wheel in WHEELS.items():
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            _run("uv", "venv", "--python", sys.executable, "environment", cwd=folder)
            binaries = folder / "environment" / "bin"
            files = [str(_wheel(target, each)) for each in (name, *wheel.requires)]
            _run("uv", "pip", "install", "--python", str(binaries / "python"), *files, cwd=folder)
            program, *arguments = wheel.command
            _run(str(binaries / program), *arguments, cwd=folder, exit_code=wheel.exit_code)
            print(f"dist/{Path(files[0]).name}: installed, `{program}` runs")
    with tempfile.TemporaryDirectory() as temporary:
        folder, package = Path(temporary), target / f"gatehouse-client-{version()}.tgz"
        _run("npm", "install", "--ignore-scripts", str(package), cwd=folder)
        _run("node", "--input-type=module", "--eval", _IMPORTS, cwd=folder)
        print(f"dist/{package.name}: installed and imported")


def _wheel(target: Path, name: str) -> Path:
    return target / f"{name.replace('-', '_')}-{version()}-py3-none-any.whl"


def _run(*command: str, cwd: Path = ROOT, exit_code: int = 0) -> str:
    """Standard output. Raises DistributionError if the command ends with another code."""
    done = subprocess.run(
        command, cwd=cwd, env=nodejs.environment(), capture_output=True, text=True, check=False
    )
    if done.returncode != exit_code:
        raise DistributionError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


def main() -> int:
    target = ROOT / "dist"
    try:
        build(target)
        check(target)
    except DistributionError as error:
        print(f"release-check: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
