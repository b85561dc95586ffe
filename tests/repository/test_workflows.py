"""GitHub workflows: privileges, pins, and the order of the stacks."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.delivery.roles import ROLES
from components.naming import DEPLOY
from components.settings.checks import DELIVERY_ROLLOUT_MAX_MINUTES
from release.signature import WORKFLOW
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


def test_jobs_have_a_timeout() -> None:
    assert [
        name for name, job in jobs() if "timeout-minutes" not in job and "uses" not in job
    ] == []


@pytest.mark.requirement("ECS-01")
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


def test_guide_lists_every_variable_and_secret() -> None:
    used = {
        name for text in TEXTS.values() for name in re.findall(r"\b(?:vars|secrets)\.(\w+)", text)
    }
    guide = (ROOT / "docs" / "guides" / "deploy.md").read_text()
    section = guide.partition("\n## 6. ")[2].partition("\n## ")[0]
    assert set(re.findall(r"`((?:AWS|PULUMI|ARTIFACT)_[A-Z_]+)`", section)) == used


def test_checks_run_with_the_oldest_and_the_newest_supported_python() -> None:
    bounds = re.search(
        r"\(3, (\d+)\) <= sys.version_info\[:2\] <= \(3, (\d+)\)",
        (ROOT / "scripts/setup.sh").read_text(),
    )
    assert bounds is not None
    oldest, newest = (f"3.{minor}" for minor in bounds.groups())
    assert WORKFLOWS["check"]["jobs"]["check"]["strategy"]["matrix"]["python"] == [oldest, newest]
    assert f"Python {oldest} to {newest}" in (ROOT / "README.md").read_text()


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


@pytest.mark.requirement("ECS-01")
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


@pytest.mark.parametrize(
    ("rules", "status"),
    [
        ("branch_policy required_reviewers", 0),
        ("required_reviewers", 0),
        ("branch_policy", 1),
        ("", 1),
    ],
)
def test_environment_without_reviewers_stops_the_preview(
    tmp_path: Path, rules: str, status: int
) -> None:
    processes.executable(tmp_path / "gh", f"#!/bin/sh\necho '{rules}'\n")
    script = WORKFLOWS["preview"]["jobs"]["reviewers"]["steps"][0]["run"]
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "GITHUB_REPOSITORY": "example/gatehouse"}
    result = processes.run(["bash", "-e", "-c", script], env=env)
    assert result.returncode == status
    assert (
        "Set required reviewers in Settings > Environments > dev-preview" in result.stdout
    ) == bool(status)


@pytest.mark.requirement("SS-08", "TR-17")
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
    assert DELIVERY_ROLLOUT_MAX_MINUTES < release["timeout-minutes"] < session_s / 60


@pytest.mark.requirement("SS-08", "TR-17")
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


@pytest.mark.requirement("SS-08", "TR-17")
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


def test_workflows_do_not_use_the_cli_alone() -> None:
    """`release` rejects a state that others changed, and does not change uv.lock."""
    assert [name for name in WORKFLOWS if re.search(r"(^|\W)pulumi \w", scripts(name))] == []
    assert 'release drift --env "$STACK"' in scripts("drift")


def test_scripts_are_valid_and_name_executable_files() -> None:
    assert WORKFLOWS
    for name in WORKFLOWS:
        for script in (step["run"] for step in steps(name) if "run" in step):
            syntax = processes.run(["bash", "-n"], input=script)
            assert syntax.returncode == 0, f"{name}: {syntax.stderr}"
            files = re.findall(r"(?<![\w./])(scripts/[\w.-]+)", script)
            assert [file for file in files if not os.access(ROOT / file, os.X_OK)] == [], name


COMMENT = "Write or update the comment of each stack"


def fake_gh(folder: Path, existing: str) -> dict[str, str]:
    """The environment of a script whose `gh` records `calls` and finds `existing`. The issue 9 of
    another author has the same title."""
    processes.executable(
        folder / "gh",
        '#!/bin/sh\nprintf "%s\\n" "$*" >> calls\n'
        f'case "$*" in *"--app github-actions"*|"api --paginate"*) printf "%s" "{existing}" ;;\n'
        '"issue list"*) printf 9 ;; esac\n',
    )
    return {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "GITHUB_REPOSITORY": "acme/gatehouse",
        "STACK": "dev",
        "NUMBER": "7",
    }


@pytest.mark.parametrize(
    ("workflow", "step", "existing", "call"),
    [
        (
            "drift",
            "Open or update the issue of the stack",
            "",
            "issue create --repo acme/gatehouse --title Drift in dev",
        ),
        ("drift", "Open or update the issue of the stack", "12", "issue edit 12"),
        ("preview", COMMENT, "", "pr comment 7"),
        ("preview", COMMENT, "34", "api --method PATCH repos/acme/gatehouse/issues/comments/34"),
    ],
)
def test_existing_issue_or_comment_is_updated(
    tmp_path: Path, workflow: str, step: str, existing: str, call: str
) -> None:
    (script,) = (entry["run"] for entry in steps(workflow) if entry.get("name") == step)
    (tmp_path / "dev.md").write_text("no changes\n")
    env = fake_gh(tmp_path, existing)
    processes.run(["bash", "-e", "-c", script], env=env, cwd=tmp_path, check=True)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == 2
    assert calls[-1].startswith(call)
