"""GitHub workflows: privileges, pins, and the order of the stacks."""

import os
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from components.delivery.roles import ROLES
from components.naming import DEPLOY
from components.settings.rollout import BAKE_MINUTES, STEP_MINUTES
from release.image import WORKFLOW
from tests import processes

ROOT = Path(__file__).resolve().parents[2]
TEXTS = {
    path.stem: path.read_text() for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))
}
# YAML 1.1 parses a workflow's `on` as the boolean true.
WORKFLOWS: dict[str, dict[Any, Any]] = {name: yaml.safe_load(text) for name, text in TEXTS.items()}


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    for workflow, body in WORKFLOWS.items():
        for name, job in body["jobs"].items():
            yield f"{workflow}/{name}", job


def steps(workflow: str) -> list[dict[str, Any]]:
    return [step for job in WORKFLOWS[workflow]["jobs"].values() for step in job.get("steps", [])]


def scripts(workflow: str) -> str:
    return "\n".join(step.get("run", "") for step in steps(workflow))


def test_workflows_have_least_privilege() -> None:
    """The permissions of each job, besides reading the contents of the repository."""
    assert [
        name
        for name, workflow in WORKFLOWS.items()
        if workflow["permissions"] != {"contents": "read"}
    ] == []
    granted = {name: {**job["permissions"]} for name, job in jobs() if "permissions" in job}
    writers = [
        name
        for name, permissions in granted.items()
        if permissions.pop("contents", "read") != "read"
    ]
    assert writers == ["publish/release"]
    assert granted == {
        "deploy/dev": {"actions": "read", "id-token": "write"},
        "deploy/staging": {"actions": "read", "id-token": "write"},
        "deploy/prod": {"actions": "read", "id-token": "write"},
        "drift/drift": {"id-token": "write", "issues": "write"},
        "image/build": {"id-token": "write", "attestations": "write"},
        "image/promote": {"id-token": "write"},
        "policies/check": {"security-events": "write"},
        "preview/comment": {"pull-requests": "write"},
        "preview/preview": {"id-token": "write"},
        "preview/reviewers": {"actions": "read"},
        "publish/distributions": {"id-token": "write", "attestations": "write"},
        "publish/image": {"packages": "write"},
        "publish/index": {"packages": "write", "id-token": "write", "attestations": "write"},
        "publish/release": {},
        "site/publish": {"pages": "write", "id-token": "write"},
        "release/release": {"actions": "read", "id-token": "write"},
    }


def test_every_push_is_checked_and_tested() -> None:
    check = WORKFLOWS["check"]
    assert (check[True]["push"]["branches"], "pull_request" in check[True]) == (["main"], True)
    assert ".ci/run" in [step.get("run") for step in check["jobs"]["check"]["steps"]]
    commands = (ROOT / ".ci/run").read_text().splitlines()
    assert {"make check", "CI=true make test"} <= set(commands)


def test_aws_access_uses_oidc_roles() -> None:
    assert [
        name
        for name, text in TEXTS.items()
        if re.search(r"aws[-_](secret[-_])?access[-_]", text, re.IGNORECASE)
    ] == []
    with_role = [
        (name, job)
        for name, job in jobs()
        if any(
            "configure-aws-credentials@" in step.get("uses", "") for step in job.get("steps", [])
        )
    ]
    assert with_role
    for name, job in with_role:
        assert job["permissions"]["id-token"] == "write", name
        assert job["environment"], name


def test_forks_get_no_role_and_no_secret() -> None:
    events = {name: set(workflow[True]) for name, workflow in WORKFLOWS.items()}
    assert [
        name
        for name, triggers in events.items()
        if triggers & {"pull_request_target", "workflow_run", "issue_comment"}
    ] == []
    with_secrets = {
        name
        for name, triggers in events.items()
        if "pull_request" in triggers and "secrets." in TEXTS[name]
    }
    assert with_secrets == {"preview"}
    for name, job in WORKFLOWS["preview"]["jobs"].items():
        condition = "github.event.pull_request.head.repo.full_name == github.repository"
        assert job["if"].rstrip(" }").endswith(condition), name


def test_workflows_that_need_settings_do_nothing_without_them() -> None:
    with_settings = {
        name for name, text in TEXTS.items() if re.search(r"\b(?:vars|secrets)\.", text)
    }
    assert with_settings
    for workflow in with_settings - {"release"}:  # deploy.yml calls release.yml
        first = {
            name: job for name, job in WORKFLOWS[workflow]["jobs"].items() if "needs" not in job
        }
        conditions = {name: job.get("if", "").partition(" && ")[0] for name, job in first.items()}
        assert set(conditions.values()) == {"vars.AWS_DELIVERY == 'true'"}, workflow
        assert "always()" not in "".join(
            job.get("if", "") for job in WORKFLOWS[workflow]["jobs"].values()
        )


def test_secrets_belong_to_an_environment() -> None:
    using = [
        (name, job)
        for name, job in jobs()
        if "secrets." in yaml.safe_dump(job) and "uses" not in job
    ]
    assert {name for name, _ in using} == {"drift/drift", "preview/preview", "release/release"}
    assert [name for name, job in using if "environment" not in job] == []
    assert [name for name, text in TEXTS.items() if re.search(r"secrets:\s*inherit", text)] == []


def test_previews_wait_for_reviewers() -> None:
    preview = WORKFLOWS["preview"]["jobs"]
    assert preview["preview"]["needs"] == "reviewers"
    assert preview["preview"]["environment"] == "${{ matrix.stack }}-preview"
    script = preview["reviewers"]["steps"][0]["run"]
    assert re.findall(r"for stack in (.*); do", script) == [
        " ".join(preview["preview"]["strategy"]["matrix"]["stack"])
    ]
    (drift,) = WORKFLOWS["drift"]["jobs"].values()
    assert drift["environment"] == "${{ matrix.stack }}-drift"


def test_stacks_are_deployed_in_order() -> None:
    deploy = WORKFLOWS["deploy"]["jobs"]
    assert {name: (job.get("needs"), job["with"]["stack"]) for name, job in deploy.items()} == {
        "dev": (None, "dev"),
        "staging": ("dev", "staging"),
        "prod": ("staging", "prod"),
    }
    (release,) = WORKFLOWS["release"]["jobs"].values()
    assert release["environment"] == "${{ inputs.stack }}"
    assert release["concurrency"]["cancel-in-progress"] is False
    assert (
        release["steps"][-1]["run"]
        == 'exec .venv/bin/python -m release deploy --env "$STACK" --yes --rollback'
    )


def test_credentials_outlast_the_deployment() -> None:
    (release,) = WORKFLOWS["release"]["jobs"].values()
    (credentials,) = (
        step["with"]
        for step in release["steps"]
        if "configure-aws-credentials@" in step.get("uses", "")
    )
    _, session_s = ROLES[DEPLOY]
    assert credentials["role-duration-seconds"] == session_s
    assert STEP_MINUTES + BAKE_MINUTES + 45 < release["timeout-minutes"] < session_s / 60


def test_image_is_built_once_and_promoted_by_digest() -> None:
    image = WORKFLOWS["image"]["jobs"]
    declared = {
        name: (job["environment"], job.get("needs"), job.get("strategy", {}).get("matrix"))
        for name, job in image.items()
    }
    assert declared == {
        "build": ("dev-image", None, None),
        "promote": ("${{ matrix.stack }}-image", "build", {"stack": ["staging", "prod"]}),
    }
    promotion = "\n".join(step.get("run", "") for step in image["promote"]["steps"])
    assert "buildx build" not in promotion
    order = [
        promotion.index(command)
        for command in ("docker login", "registry.sh load", 'cosign" verify')
    ]
    assert order == sorted(order)
    verified = image["promote"]["steps"][-1]
    assert verified["env"] == {"DIGEST": "${{ needs.build.outputs.digest }}"}
    assert verified["run"].endswith('"$REGISTRY/$REPOSITORY@$DIGEST"\n')
    assert image["build"]["outputs"] == {"digest": "${{ steps.scan.outputs.digest }}"}


def test_deployments_verify_the_signature() -> None:
    """`make deploy` verifies the signature of the workflow that signs, and needs cosign."""
    assert WORKFLOWS["image"][True]["push"]["branches"] == [WORKFLOW.rpartition("/")[2]]
    assert (ROOT / WORKFLOW.partition("@")[0]).samefile(
        ROOT / ".github" / "workflows" / "image.yml"
    )
    assert "go install github.com/sigstore/cosign" in scripts("release")
    assert "UNSIGNED" not in scripts("release")
    versions = set(re.findall(r"cosign/v2/cmd/cosign@(v[\d.]+)", "".join(TEXTS.values())))
    assert len(versions) == 1


def test_changes_to_lock_files_are_audited() -> None:
    listed = processes.run(["git", "ls-files", "uv.lock", "*package-lock.json"], cwd=ROOT)
    files = listed.stdout.split()
    assert len(files) > 5
    for event in ("push", "pull_request"):
        paths = WORKFLOWS["audit"][True][event]["paths"]
        assert [file for file in files if not any(fnmatch(file, path) for path in paths)] == []


def test_scripts_are_valid_and_name_executable_files() -> None:
    assert WORKFLOWS
    for name in WORKFLOWS:
        for script in (step["run"] for step in steps(name) if "run" in step):
            syntax = processes.run(["bash", "-n"], input=script)
            assert syntax.returncode == 0, f"{name}: {syntax.stderr}"
            files = re.findall(r"(?<![\w./])(scripts/[\w.-]+)", script)
            assert [file for file in files if not os.access(ROOT / file, os.X_OK)] == [], name
