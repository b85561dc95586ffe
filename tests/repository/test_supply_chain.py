"""Supply chain."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

from tests import certificates, http_servers, processes

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "scripts" / "requirements"
NPM_FOLDERS = ("runtime/web", "scripts/requirements/chromium", "scripts/requirements/site")


def source(path: str) -> str:
    return (ROOT / path).read_text()


def npm_packages() -> list[Path]:
    folders = ("clients/*", "runtime/web", "scripts/requirements/*", "tests/compatibility/*")
    return [file for folder in folders for file in ROOT.glob(f"{folder}/package.json")]


def test_base_images_are_pinned_by_digest() -> None:
    references = re.findall(
        r"^FROM (\S+)(?: AS (\S+))?", source("runtime/Dockerfile"), re.MULTILINE
    )
    stages = {stage for _, stage in references}
    images = [image for image, _ in references if image not in stages]
    assert [image.partition("@")[0] for image in images] == [
        "python:3.12-slim",
        "public.ecr.aws/aws-observability/aws-otel-collector",
        "node:22-slim",
    ]
    assert [image for image in images if not re.search(r"@sha256:[0-9a-f]{64}$", image)] == []
    # The directive names an image with a mutable tag that replaces the parser of BuildKit.
    assert "syntax=" not in source("runtime/Dockerfile")


def test_installers_are_pinned_by_hash() -> None:
    files = sorted(REQUIREMENTS.glob("*.txt"))
    assert [file.stem for file in files] == ["compose-schema", "kubernetes-schema", "node", "uv"]
    for file in files:
        entry = "".join(
            line for line in file.read_text().splitlines(keepends=True) if not line.startswith("#")
        )
        assert re.fullmatch(r"[\w-]+==[\d.]+(?: \\\n    --hash=sha256:[0-9a-f]{64})+\n", entry), (
            file
        )
    for folder in NPM_FOLDERS:
        packages = json.loads(source(f"{folder}/package-lock.json"))["packages"]
        hashes = {name: package.get("integrity", "") for name, package in packages.items() if name}
        assert hashes
        assert [
            name for name, digest in hashes.items() if not digest.startswith("sha512-")
        ] == [], folder


def test_distributions_cannot_be_uploaded_by_mistake() -> None:
    files = [
        file
        for pattern in ("", "*/", "clients/*/")
        for file in ROOT.glob(f"{pattern}pyproject.toml")
    ]
    projects = [tomllib.loads(file.read_text())["project"] for file in files]
    assert len(projects) == 6
    for project in projects:
        assert "Private :: Do Not Upload" in project["classifiers"], project["name"]
        # Another project owns the name `gatehouse` on the package index.
        assert project["name"].startswith("gatehouse-")
    packages = npm_packages()
    assert len(packages) == 6
    assert [file for file in packages if not json.loads(file.read_text())["private"]] == []


@pytest.fixture
def build_bundle(tmp_path: Path) -> Callable[[str], bytes | None]:
    """What the build of the image writes if AWS publishes a text. None: the build fails."""
    target = tmp_path / "rds-ca.pem"
    command = re.findall(r"(?ms)^RUN python( -c 'import .*?')$", source("runtime/Dockerfile"))[-1]
    script = sys.executable + command.replace("/build/rds-ca.pem", str(target))

    def build(text: str) -> bytes | None:
        class Handler(http_servers.Handler):
            def do_GET(self) -> None:
                self.respond(200, text.encode())

        target.unlink(missing_ok=True)
        with http_servers.serving(Handler) as url:
            env = {**os.environ, "RDS_CA_URL": url, "no_proxy": "*"}
            done = processes.run(["sh", "-c", script], env=env)
        assert (done.returncode == 0) is target.exists(), done.stderr
        return target.read_bytes() if target.exists() else None

    return build


def test_image_builds_when_aws_publishes_new_certificate_authorities(
    tmp_path: Path, build_bundle: Callable[[str], bytes | None]
) -> None:
    bundle = ""
    for name in ("region", "new-region"):
        certificates.server_context(tmp_path, name)
        bundle += (tmp_path / "certificate.pem").read_text()
        assert build_bundle(bundle) == bundle.encode()
    for text in ("", "<html>Service unavailable</html>", bundle[:-99]):
        assert build_bundle(text) is None


@pytest.mark.parametrize("path", ["scripts/setup.sh", "scripts/build_web.sh", "runtime/Dockerfile"])
def test_installations_require_hashes(path: str) -> None:
    commands = re.findall(r"\bpip install (?:[^\n]*\\\n)*[^\n]*", source(path))
    assert commands
    for command in commands:
        assert {"--require-hashes", "--only-binary", ":all:", "--requirement"} <= set(
            command.split()
        ), command
    files = set(re.findall(r"scripts/requirements/[\w.]+", source(path)))
    assert files
    assert [file for file in files if not (ROOT / file).is_file()] == []


@contextmanager
def database(vulnerable: str) -> Iterator[str]:
    """An OSV database and npm registry. `vulnerable`: pyyaml, vue, or "" for none."""

    class Handler(http_servers.Handler):
        def do_POST(self) -> None:
            body = self.body()
            if self.path == "/v1/querybatch":
                names = [query["package"]["name"] for query in json.loads(body)["queries"]]
                assert "pyyaml" in names
                found = {"vulns": [{"id": "GHSA-test", "modified": "2026-01-01T00:00:00Z"}]}
                self.respond_json(
                    {"results": [found if name == vulnerable else {} for name in names]}
                )
            elif vulnerable == "vue":
                advisory = {
                    "id": 1,
                    "url": "https://db.example/1",
                    "title": "t",
                    "severity": "high",
                    "vulnerable_versions": "*",
                }
                self.respond_json(
                    {
                        "vue": [
                            {
                                **advisory,
                                "name": "vue",
                                "cwe": [],
                                "cvss": {"score": 9, "vectorString": None},
                            }
                        ]
                    }
                )
            else:
                self.respond_json({})

        def do_GET(self) -> None:
            if not self.path.startswith("/v1/vulns/"):
                self.respond_json({"name": unquote(self.path[1:]), "dist-tags": {}, "versions": {}})
                return
            ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.0"}]}]
            affected = [{"package": {"ecosystem": "PyPI", "name": "pyyaml"}, "ranges": ranges}]
            self.respond_json(
                {
                    "id": "GHSA-test",
                    "summary": "Runs code",
                    "modified": "2026-01-01T00:00:00Z",
                    "affected": affected,
                }
            )

    with http_servers.serving(Handler) as url:
        yield url


def audit(url: str) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        "npm_config_registry": url,
        "npm_config_fetch_retries": "0",
        "UV_HTTP_RETRIES": "0",
    }
    command = ["make", "audit", f"OSV_URL={url}", "NPM_FOLDERS=runtime/web"]
    return processes.run(command, cwd=ROOT, env=env)


def test_audit_reads_every_lock_file_of_npm() -> None:
    (folders,) = re.findall(r"^NPM_FOLDERS = (.*)$", source("Makefile"), re.MULTILINE)
    assert {ROOT / folder for folder in folders.split()} == {row.parent for row in npm_packages()}


def test_dependabot_updates_every_file_with_versions() -> None:
    updated: dict[str, set[str]] = {}
    for row in yaml.safe_load(source(".github/dependabot.yml"))["updates"]:
        listed = row.get("directories") or [row["directory"]]
        updated.setdefault(row["package-ecosystem"], set()).update(listed)

    def folders(*names: str) -> set[str]:
        command = ("git", "ls-files", "--", *names)
        files = processes.run(command, cwd=ROOT, check=True).stdout.split()
        assert files
        return {f"/{Path(file).parent}".removesuffix(".") for file in files}

    assert updated["npm"] == folders("**/package-lock.json")
    assert updated["uv"] == folders("uv.lock", "**/uv.lock")
    assert updated["docker"] == folders("**/Dockerfile")
    assert updated["docker-compose"] == folders("**/compose.yaml")
    # Examples have a range of versions, for the installation by Pulumi.
    pip = folders("**/requirements.txt", "scripts/requirements/*.txt")
    assert updated["pip"] == {folder for folder in pip if not folder.startswith("/examples/")}


@pytest.mark.parametrize("package", ["", "pyyaml", "vue"])
def test_audit_fails_if_a_package_is_vulnerable(package: str) -> None:
    with database(package) as url:
        result = audit(url)
    assert (result.returncode == 0) is (not package), result.stdout + result.stderr
    assert package in result.stdout


def test_audit_without_a_database_fails() -> None:
    assert audit("http://127.0.0.1:1").returncode != 0
