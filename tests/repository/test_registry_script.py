"""scripts/registry.sh."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from tests import processes, requires

pytestmark = requires.program("jq")

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "registry.sh"
SOURCE, TARGET = "dev.example/gatehouse-dev-runtime", "prod.example/gatehouse-prod-runtime"
IDENTITY = "https://github.com/acme/gatehouse/.github/workflows/image.yml@refs/heads/main"
_FAKE = f'''#!{sys.executable} -IS
"""Registries in the directory "registries", one file for each tag, which cannot be overwritten."""
import hashlib, json, pathlib, sys
words = [word for word in sys.argv[1:] if not word.startswith("--")]
root = pathlib.Path(__file__).parent
with (root / "calls").open("a") as calls:
    print(pathlib.Path(__file__).name, *sys.argv[1:], file=calls)

def file(reference):
    name = reference.removeprefix("docker://").replace("/", "_").replace(":", "_")
    return root / "registries" / name

def layout(reference):
    kind, directory, tag = reference.split(":")
    return pathlib.Path(directory), tag

if pathlib.Path(__file__).name == "cosign":
    signed = root / "signed"
    image = words[-1]
    if words[0] == "verify":
        sys.exit(0 if signed.exists() and image + " " + words[1] in signed.read_text() else 1)
    with signed.open("a") as lines:
        print(image, "{IDENTITY}", file=lines)
elif words[0] == "manifest-digest":
    print("sha256:" + hashlib.sha256(pathlib.Path(words[1]).read_bytes()).hexdigest())
elif words[0] == "inspect":
    if not file(words[1]).exists():
        sys.exit("manifest unknown")
    sys.stdout.write(file(words[1]).read_text())
elif words[1].startswith("docker://"):
    directory, tag = layout(words[2])
    directory.mkdir(exist_ok=True)
    manifest = file(words[1]).read_text()
    digest = "sha256:" + hashlib.sha256(manifest.encode()).hexdigest()
    (directory / digest).write_text(manifest)
    index = directory / "index.json"
    manifests = json.loads(index.read_text())["manifests"] if index.exists() else []
    annotations = {{"org.opencontainers.image.ref.name": tag}}
    manifests.append({{"digest": digest, "annotations": annotations}})
    index.write_text(json.dumps({{"manifests": manifests}}))
else:
    directory, tag = layout(words[1])
    if file(words[2]).exists():
        sys.exit("tag is immutable")
    manifests = json.loads((directory / "index.json").read_text())["manifests"]
    name = "org.opencontainers.image.ref.name"
    names = {{row["annotations"][name]: row["digest"] for row in manifests}}
    file(words[2]).write_text((directory / names[tag]).read_text())
'''


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": f"{folder}:{os.environ['PATH']}"}
    return processes.run([SCRIPT, *words], env=env, cwd=folder)


def calls(folder: Path, command: str) -> list[str]:
    return [
        line for line in (folder / "calls").read_text().splitlines() if line.startswith(command)
    ]


def put(folder: Path, repository: str, tag: str, manifest: str) -> str:
    (folder / "registries" / f"{repository.replace('/', '_')}_{tag}").write_text(manifest)
    return f"sha256:{sha256(manifest.encode()).hexdigest()}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "registries").mkdir()
    for name in ("skopeo", "cosign"):
        processes.executable(tmp_path / name, _FAKE)
    return tmp_path


@pytest.mark.requirement("TR-17", "SS-08")
def test_promotion_keeps_digests_and_can_be_repeated(folder: Path) -> None:
    tags = {
        "release-1": json.dumps({"index": 1}),
        "sha256-1.sig": "signature 1",
        "sha256-2.sig": "signature 2",
    }
    digests = {tag: put(folder, SOURCE, tag, manifest) for tag, manifest in tags.items()}
    assert run(folder, "save", SOURCE, "image", *tags).returncode == 0
    index = json.loads((folder / "image" / "index.json").read_text())
    assert {row["digest"] for row in index["manifests"]} == {*digests.values()}
    for _ in range(2):
        result = run(folder, "load", "image", TARGET)
        assert result.returncode == 0, result.stderr
    for tag, manifest in tags.items():
        assert (folder / "registries" / f"{TARGET.replace('/', '_')}_{tag}").read_text() == manifest
    pushes = [call for call in calls(folder, "skopeo copy") if f"docker://{TARGET}" in call]
    assert len(pushes) == len(tags)
    assert all("--all --preserve-digests" in push for push in pushes)


def test_tag_with_another_image_is_an_error(folder: Path) -> None:
    put(folder, SOURCE, "release-1", "image")
    other = put(folder, TARGET, "release-1", "another image")
    assert run(folder, "save", SOURCE, "image", "release-1").returncode == 0
    result = run(folder, "load", "image", TARGET)
    assert result.returncode == 1
    assert result.stderr.startswith(f"registry: {TARGET}:release-1 is {other}, expected sha256:")


@pytest.mark.requirement("TR-17")
def test_images_are_signed_once(folder: Path) -> None:
    words = ("sign", SOURCE, IDENTITY, "sha256:1", "sha256:2")
    assert run(folder, *words[:-1]).returncode == 0
    assert run(folder, *words).returncode == 0
    assert run(folder, *words).returncode == 0
    assert calls(folder, "cosign sign") == [
        f"cosign sign --yes {SOURCE}@sha256:{number}" for number in (1, 2)
    ]


@pytest.mark.parametrize("words", [("load", "image", TARGET), ("delete",), ()])
def test_errors_are_reported(folder: Path, words: tuple[str, ...]) -> None:
    (folder / "image").mkdir()
    (folder / "image" / "index.json").write_text('{"manifests": []}')
    result = run(folder, *words)
    assert (result.returncode, result.stderr.startswith("registry: ")) == (1, True)
