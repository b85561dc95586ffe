"""`gatehouse-policies` in a new virtual environment outside the repository: command, packs, action
and hook.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from gatehouse_policies import catalogue
from google.protobuf import empty_pb2, json_format

from tests import processes, requires
from tests.journeys.guide_reader import GuideReader
from tests.policies.pack_process import RunningPack

ROOT = Path(__file__).resolve().parents[3]
GUIDE = ROOT / "docs" / "guides" / "policies.md"
FOLDER = ROOT / "policies"
BUILD = "import sys, hatchling.build; print(hatchling.build.{}(sys.argv[1]))"


def built(kind: str, folder: Path) -> Path:
    command = [sys.executable, "-c", BUILD.format(kind), str(folder)]
    return folder / processes.run(command, cwd=FOLDER, check=True).stdout.split()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("build_wheel", tmp_path_factory.mktemp("package"))


def add_dependencies(venv: Path) -> None:
    folder = (
        venv / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    )
    folder.mkdir(parents=True, exist_ok=True)
    # A folder in a .pth file is on the path, but its own .pth files, which contain the repository,
    # are not read.
    (folder / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")


@pytest.fixture(scope="module")
def repository(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    (folder / ".git").mkdir()
    # The packages of this environment, including pip, are on the path of the one that the page
    # creates, so that they are not installed again.
    add_dependencies(folder / ".venv")
    git = "git+https://<address of this repository>@<tag>#subdirectory=policies"
    pip = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("PIP_", "SSL_", "HTTP", "http"))
    }
    environ = {**pip, "LANG": "C.UTF-8", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    texts = {git: wheel.as_uri(), "-m venv": "-m venv --without-pip"}
    reader = GuideReader(folder, environ, texts)
    try:
        assert reader.run(GUIDE.read_text()) == 8
    finally:
        reader.close()
    return folder


@pytest.fixture(scope="module")
def environment(repository: Path) -> Path:
    """The virtual environment of the guide: the wheel, and the dependencies of this environment."""
    return repository / ".venv"


def test_package_contains_every_rule_and_does_not_use_the_repository(
    environment: Path, tmp_path: Path
) -> None:
    code = (
        "from gatehouse_policies import catalogue, policy_check; from pulumi_local import runner; "
        "print(policy_check.__file__, runner.__file__, *(rule.id for rule in catalogue.RULES))"
    )
    python = str(environment / "bin" / "python")
    first, second, *rules = processes.run(
        [python, "-c", code], cwd=tmp_path, check=True
    ).stdout.split()
    assert first.startswith(str(environment))
    assert second.startswith(str(environment))
    assert rules == [rule.id for rule in catalogue.RULES]


def test_package_contains_the_examples_of_controls(environment: Path, tmp_path: Path) -> None:
    command = [str(environment / "bin" / "gatehouse-policies"), "explain", "GH-ALB-003"]
    text = processes.run(command, cwd=tmp_path, check=True).stdout
    assert 'aws.lb.LoadBalancer("balancer", drop_invalid_header_fields=True)' in text


def test_examples_of_controls_are_built_without_other_packages() -> None:
    """`pip install` builds in an environment with hatchling only."""
    command = [sys.executable, "-S", "-m", "tests.policies.rules.control_examples"]
    environ = {"PYTHONPATH": str(ROOT / "pulumi_local")}
    processes.run(command, cwd=ROOT, env=environ, check=True)


def test_editable_installation_has_no_copy_of_pulumi_local(tmp_path: Path) -> None:
    """The Pulumi CLI installs the packs of this repository in this way."""
    with zipfile.ZipFile(built("build_editable", tmp_path)) as archive:
        names = archive.namelist()
        [paths] = [name for name in names if name.endswith(".pth")]
        assert archive.read(paths).decode().split("\n") == [str(FOLDER), str(ROOT / "pulumi_local")]
    assert [name for name in names if name.endswith(".py")] == []


@pytest.mark.parametrize("name", catalogue.PACKS)
def test_pulumi_cli_installs_only_this_distribution_for_a_pack(name: str) -> None:
    """The CLI runs `uv sync` in the folder of the pack, which removes all but this project from the
    virtual environment.
    """
    folder = ROOT / "policies" / name
    project = next(
        parent for parent in (folder, *folder.parents) if (parent / "pyproject.toml").is_file()
    )
    options = yaml.safe_load((folder / "PulumiPolicy.yaml").read_text())["runtime"]["options"]
    assert project == FOLDER
    assert options["toolchain"] == "uv"
    assert (folder / options["virtualenv"]).resolve() == FOLDER / ".venv"


@pytest.mark.parametrize("name", catalogue.PACKS)
def test_pack_folder_of_the_guide_starts(name: str, repository: Path, environment: Path) -> None:
    pack = repository / "policy-packs" / name
    command = [
        str(environment / "bin" / "python"),
        "-u",
        "-m",
        "pulumi.policy",
        "127.0.0.1:0",
        str(pack),
    ]
    with subprocess.Popen(command, cwd=pack, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip().isdigit()
        process.kill()


@pytest.mark.parametrize("parent", ["policies", "policy-packs"])
def test_pack_in_the_engine_has_the_lists_of_the_configuration(
    parent: str, repository: Path
) -> None:
    folder = (ROOT if parent == "policies" else repository) / parent / "resilience"
    document = next(
        file for file in (folder / "policies.toml", ROOT / "policies.toml") if file.is_file()
    )
    tags = tomllib.loads(document.read_text())["required_tags"]
    assert tags
    with RunningPack(folder) as pack:
        info = pack.call("GetAnalyzerInfo", empty_pb2.Empty())
    [policy] = [policy for policy in info.policies if policy.name == "GH-TAG-001"]
    properties = json_format.MessageToDict(policy.configSchema.properties)
    assert properties["tags"]["default"] == tags


@requires.program("git")
@pytest.mark.parametrize("name", catalogue.PACKS)
def test_pack_folder_of_the_guide_can_be_published(
    name: str, repository: Path, wheel: Path, tmp_path: Path
) -> None:
    pack = tmp_path / name
    shutil.copytree(repository / "policy-packs" / name, pack)
    for file in ("venv/lib/site.py", "__pycache__/rules.cpython-311.pyc"):
        (pack / file).parent.mkdir(parents=True, exist_ok=True)
        (pack / file).touch()
    subprocess.run(["git", "init", "--quiet", str(pack)], check=True)
    listed = ["git", "-C", str(pack), "ls-files", "--others", "--exclude-standard"]
    files = processes.run(listed, check=True).stdout.split()
    assert sorted(files) == [
        *(".gitignore", "PulumiPolicy.yaml", "__main__.py", "policies.toml", "requirements.txt")
    ]
    project = yaml.safe_load((pack / "PulumiPolicy.yaml").read_text())
    assert re.fullmatch(r"[a-zA-Z0-9-_.]{1,100}", project["version"])
    # Folders above the pack, and paths in the requirements, do not exist on the machine that
    # installs the pack.
    assert project["runtime"]["options"] == {"toolchain": "pip", "virtualenv": "venv"}
    requirements = (pack / "requirements.txt").read_text()
    assert requirements == f"gatehouse-policies @ {wheel.as_uri()}\n"


def test_jobs_of_the_guide_pass_with_the_action(
    repository: Path, environment: Path, tmp_path: Path
) -> None:
    workflow = yaml.safe_load((repository / ".github" / "workflows" / "policies.yml").read_text())
    job = workflow["jobs"]["policies"]
    action = yaml.safe_load((ROOT / "policies" / "action.yml").read_text())
    [inputs] = [step["with"] for step in job["steps"] if "/policies@" in step["uses"]]
    assert set(inputs) <= set(action["inputs"])
    projects = job["strategy"]["matrix"]["project"]
    assert len(projects) == 2
    (tmp_path / "gatehouse-policies").symlink_to(environment)
    gh, calls = tmp_path / "gh", tmp_path / "calls"
    gh.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n')
    gh.chmod(0o700)
    for project in projects:
        values = (
            {name: row.get("default", "") for name, row in action["inputs"].items()}
            | inputs
            | {"program": project, "comment": "true", "pull_request": "7"}
        )
        summary = tmp_path / f"{project}.md"
        files = {
            "RUNNER_TEMP": str(tmp_path),
            "GITHUB_STEP_SUMMARY": str(summary),
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            "GITHUB_REPOSITORY": "acme/shop",
        }
        variables = {name.upper(): value for name, value in values.items()}
        command = ["bash", "-e", "-c", action["runs"]["steps"][-1]["run"]]
        result = processes.run(command, cwd=repository, env={**variables, **files})
        assert result.returncode == 0, result.stdout + result.stderr
        report = json.loads((repository / "policies.sarif").read_text())["runs"][0]
        assert report["automationDetails"]["id"] == f"policies/{project}/prod/"
        assert "no violations" in summary.read_text()
        assert summary.read_text() in (tmp_path / "comment.md").read_text()
        assert "api --method POST repos/acme/shop/issues/7/comments" in calls.read_text()
