"""The wheel of the Python client."""

import email
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from gatehouse_client.transport import VERSION
from packaging.requirements import Requirement

from tests import processes

PACKAGES_MAX = 10
ROOT = Path(__file__).resolve().parents[3]
BUILD = "import sys, hatchling.build; print(hatchling.build.build_wheel(sys.argv[1]))"
LOCKED = {
    package["name"]: package for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("package")
    command = [sys.executable, "-c", BUILD, str(folder)]
    built = processes.run(command, cwd=ROOT / "clients/python", check=True)
    return zipfile.ZipFile(folder / built.stdout.split()[-1])


def metadata(wheel: zipfile.ZipFile, name: str) -> list[str]:
    (file,) = (file for file in wheel.namelist() if file.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(wheel.read(file)).get_all(name) or []


def requirements(wheel: zipfile.ZipFile) -> list[str]:
    return metadata(wheel, "Requires-Dist")


def test_user_agent_has_the_version_of_the_wheel(wheel: zipfile.ZipFile) -> None:
    assert metadata(wheel, "Version") == [VERSION]


def test_wheel_contains_the_modules_and_their_types(wheel: zipfile.ZipFile) -> None:
    sources = {
        str(path.relative_to(ROOT / "clients/python"))
        for path in (ROOT / "clients/python/gatehouse_client").rglob("*")
        if path.suffix == ".py" or path.name == "py.typed"
    }
    assert len(sources) > 10
    assert {name for name in wheel.namelist() if ".dist-info/" not in name} == sources


def test_installation_brings_few_packages(wheel: zipfile.ZipFile) -> None:
    direct = [Requirement(text) for text in requirements(wheel)]
    names = [item.name for item in direct if item.marker is None]
    assert sorted(names) == ["httpcore", "httpx", "msgspec"]
    # Markers are ignored: the packages of any machine and version of Python count.
    packages = {"gatehouse-client"}
    while names:
        name = names.pop()
        if name not in packages:
            packages.add(name)
            dependencies: list[dict[str, Any]] = LOCKED[name].get("dependencies", [])
            names += [dependency["name"] for dependency in dependencies]
    assert len(packages) <= PACKAGES_MAX, sorted(packages)


def test_client_needs_no_web_framework() -> None:
    program = (
        "import sys, gatehouse_client, gatehouse_client.asgi, gatehouse_client.wsgi; "
        "print({'fastapi', 'starlette', 'flask', 'django', 'cryptography', 'gatehouse'}"
        " & set(sys.modules))"
    )
    assert processes.run([sys.executable, "-c", program], check=True).stdout == "set()\n"
