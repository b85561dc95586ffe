"""The pipelines: pinned actions, least permissions, roles by OIDC, no foreign text in a script, stacks in their order."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TEXTS = {path.stem: path.read_text() for path in FILES}
# A workflow's `on` is the boolean true for YAML 1.1.
WORKFLOWS: dict[str, dict[Any, Any]] = {name: yaml.safe_load(text) for name, text in TEXTS.items()}
NAMES = sorted(WORKFLOWS)


def jobs() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name, workflow in WORKFLOWS.items():
        for job_name, job in workflow["jobs"].items():
            yield name, job_name, job


def steps(name: str) -> list[dict[str, Any]]:
    return [step for job in WORKFLOWS[name]["jobs"].values() for step in job.get("steps", [])]


def test_there_is_a_pipeline_for_every_need() -> None:
    assert {"check", "preview", "image", "deploy", "release", "drift"} <= set(NAMES)


@pytest.mark.requirement("CG-14")
@pytest.mark.parametrize("name", NAMES)
def test_every_action_is_pinned_to_a_commit_and_says_its_release(name: str) -> None:
    for line in (line for line in TEXTS[name].splitlines() if re.search(r"\buses:", line)):
        if "./.github/workflows/" not in line:
            assert re.search(r"uses: [\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_may_read_and_a_job_asks_for_more(name: str) -> None:
    assert WORKFLOWS[name]["permissions"] == {"contents": "read"}
    allowed = {"contents": "read", "id-token": "write", "pull-requests": "write", "issues": "write", "security-events": "write"}
    for job in WORKFLOWS[name]["jobs"].values():
        assert set((job.get("permissions") or {}).items()) <= set(allowed.items())


@pytest.mark.parametrize("name", NAMES)
def test_no_checkout_leaves_a_token_behind_and_no_job_runs_for_ever(name: str) -> None:
    for step in steps(name):
        if "actions/checkout@" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False
    for job in WORKFLOWS[name]["jobs"].values():
        assert "timeout-minutes" in job or "uses" in job


@pytest.mark.parametrize("name", NAMES)
def test_no_expression_stands_inside_a_script(name: str) -> None:
    """What a script needs comes by the environment, so that a branch name is never a command."""
    assert [step["run"] for step in steps(name) if "${{" in step.get("run", "")] == []


@pytest.mark.requirement("ECS-01")
def test_aws_is_reached_by_a_role_and_never_by_a_key() -> None:
    for name, text in TEXTS.items():
        assert not re.search(r"aws[-_]access[-_]key|aws[-_]secret[-_]access", text, re.IGNORECASE), name
    for name, job_name, job in jobs():
        if any("configure-aws-credentials@" in step.get("uses", "") for step in job.get("steps", [])):
            assert job["permissions"]["id-token"] == "write", (name, job_name)
            assert job["environment"], "the role trusts one environment"


def test_a_pull_request_of_a_fork_gets_no_role() -> None:
    triggers = {name for name, workflow in WORKFLOWS.items() if "pull_request_target" in workflow[True]}
    assert triggers == set()
    (job,) = WORKFLOWS["preview"]["jobs"].values()
    assert job["if"] == "github.event.pull_request.head.repo.full_name == github.repository"


@pytest.mark.requirement("SS-08", "TR-17")
def test_prod_comes_after_staging_and_staging_after_dev_each_in_its_environment() -> None:
    deploy = WORKFLOWS["deploy"]["jobs"]
    assert {name: (job.get("needs"), job["with"]["stack"]) for name, job in deploy.items()} == {
        "dev": (None, "dev"),
        "staging": ("dev", "staging"),
        "prod": ("staging", "prod"),
    }
    (release,) = WORKFLOWS["release"]["jobs"].values()
    assert release["environment"] == "${{ inputs.stack }}"
    assert release["concurrency"]["cancel-in-progress"] is False, "a release that is cut off leaves a stack half done"
    assert release["steps"][-1]["run"] == 'make deploy ENV="$STACK" YES=1'


def test_an_image_is_scanned_and_signed_by_its_digest() -> None:
    scripts = "\n".join(step.get("run", "") for step in steps("image"))
    for needed in (
        "--sbom=true",
        "--provenance=mode=max",
        "image-scan-complete",
        "--exit-status",
        'sign --yes --recursive "$REGISTRY/$REPOSITORY@$DIGEST"',
    ):
        assert needed in scripts
    order = [scripts.index(word) for word in ("buildx build", "describe-image-scan-findings", "sign --yes")]
    assert order == sorted(order)


def test_drift_is_looked_for_and_nothing_is_changed() -> None:
    scripts = "\n".join(step.get("run", "") for step in steps("drift"))
    assert "pulumi preview --refresh --expect-no-changes" in scripts
    assert not re.search(r"pulumi (up|refresh|destroy)", scripts)


@pytest.mark.parametrize("name", NAMES)
def test_every_script_is_one_that_a_shell_reads_and_every_file_of_ours_exists(name: str) -> None:
    for script in (step["run"] for step in steps(name) if "run" in step):
        read = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False, timeout=30)
        assert read.returncode == 0, read.stderr
        for file in re.findall(r"(?<![\w./])(scripts/[\w.-]+)", script):
            assert os.access(ROOT / file, os.X_OK), file
