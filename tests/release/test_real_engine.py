"""The life of each stack with the real Pulumi CLI."""

from collections.abc import Iterator

import pytest

from components.settings.workloads import NO_IMAGE
from release.pulumi.cli import PACKS
from release.pulumi.stack import write_digest
from tests import processes, requires
from tests.release.fake_aws import ACCOUNT, OLD
from tests.release.fake_cli import write_command
from tests.release.preview_role import PreviewRole
from tests.release.real_engine import (
    MIGRATION,
    REGION,
    Project,
    assert_deployed,
    deploy,
    interrupt,
    repeat,
    running,
)

pytestmark = requires.PULUMI
STACKS = [
    "dev",
    pytest.param("staging", marks=pytest.mark.slow),
    pytest.param("prod", marks=pytest.mark.slow),
]
RELEASES = 20
DELIVERY = {
    "repository": "acme/gatehouse",
    "state_bucket": f"gatehouse-pulumi-state-{ACCOUNT}-{REGION}",
    "state_key_arn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/mrk-{'0' * 32}",
}


@pytest.fixture(scope="module", params=STACKS)
def project(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    with running(str(request.param), tmp_path_factory.mktemp("project")) as project:
        yield project


def test_stack_without_an_image_names_the_next_command(project: Project) -> None:
    digest = project.digest
    write_digest(project.file, NO_IMAGE)
    assert f"make image ENV={project.stack}" in refused_update(project)
    write_digest(project.file, digest)


def test_stack_with_example_values_names_them(project: Project) -> None:
    own = project.file.read_text()
    project.file.write_text(own.replace("acme.dev", "example.com"))
    assert "domain is an example value" in refused_update(project)
    project.file.write_text(own)


def refused_update(project: Project) -> str:
    """The output of an update that the program refuses before the first operation."""
    up = ["pulumi", "up", "--yes", "--skip-preview", "--stack", project.stack, "--non-interactive"]
    failed = processes.run(up, cwd=project.folder, env=project.environment, timeout=None)
    assert failed.returncode
    assert project.account.operations == []
    return failed.stdout + failed.stderr


def test_first_image_creates_its_registry(project: Project) -> None:
    write_command(project.folder / "bin" / "docker", project.account)
    processes.executable(project.folder / "bin" / "aws", "#!/bin/sh\necho password\n")
    code, output = project.make("image", YES=1)
    assert (code, project.digest) == (0, OLD), output
    kinds = {row["type"] for row in project.account.operations}
    assert {"aws:ecr/repository:Repository", "aws:route53/zone:Zone"} <= kinds
    assert "delegate" in output


def test_empty_stack_is_deployed_by_pulumi_up(project: Project) -> None:
    saved = dict(project.environment)
    # The engine saves the state once instead of twice for each of the 400 resources.
    project.environment.update(PULUMI_EXPERIMENTAL="true", PULUMI_SKIP_CHECKPOINTS="true")
    packs = [word for pack in PACKS for word in ("--policy-pack", pack)]
    project.pulumi("up", "--yes", "--stack", project.stack, *packs)
    project.environment = saved
    assert_deployed(project)
    calls = project.account.calls
    assert calls.index(MIGRATION) < min(
        calls.index(f"create Service {name}") for name in ("gateway", "console")
    )


@pytest.mark.parametrize("denied", ["", "kms:GetKeyPolicy"])
def test_refresh_under_the_preview_role_shows_no_drift(project: Project, denied: str) -> None:
    project.write_settings({"delivery": DELIVERY})
    project.pulumi("up", "--yes", "--skip-preview", "--stack", project.stack)
    role = project.account.service = PreviewRole(project.state(), REGION, denied)
    code, output = project.make("drift")
    project.account.service = lambda row: {}
    assert (bool(code), f"AccessDenied: {denied}" in output) == (bool(denied),) * 2, output
    assert role.calls > len(project.state()["resources"])


def test_new_image_is_deployed(project: Project) -> None:
    deploy(project)
    assert project.account.calls.count(MIGRATION) == 1
    before = len(project.account.operations)
    repeat(project)
    assert len(project.account.operations) == before


def test_interrupted_deployment_continues(project: Project) -> None:
    """The user presses Ctrl-C during the migration, and during the update of the services."""
    project.write_settings({})
    for call in (MIGRATION, "update Service console"):
        interrupt(project, "deploy", call)
    repeat(project)


def test_changed_settings_are_deployed(project: Project) -> None:
    cloudfront = {"services": {"console": {"hosting": "cloudfront"}}}
    for settings in (
        {"sharing": {"mode": "serverless"}},
        {"sharing": {"mode": "container", "api_gateway_log_role": False}},
        cloudfront,
        {},
    ):
        # The log groups of functions are protected in prod: docs/guides/deploy.md, section 2.
        project.pulumi("state", "unprotect", "--all", "--yes", "--stack", project.stack)
        deploy(project, settings)


@pytest.mark.slow
def test_many_images_are_deployed(project: Project) -> None:
    for _ in range(RELEASES):
        deploy(project)


def test_stack_is_destroyed(project: Project) -> None:
    project.pulumi("state", "unprotect", "--all", "--yes", "--stack", project.stack)
    protected = next(
        row["urn"] for row in project.state()["resources"] if row["type"] == "aws:s3/bucket:Bucket"
    )
    project.pulumi("state", "protect", protected, "--yes", "--stack", project.stack)
    answers = {"Enter the name of the stack to confirm: ": f"{project.stack}\r"}
    before = len(project.account.operations)
    assert (project.terminal("destroy", answers).wait()[0], len(project.account.operations)) == (
        2,
        before,
    )
    project.pulumi("state", "unprotect", protected, "--yes", "--stack", project.stack)
    interrupt(project, "destroy", "delete ", 100, answers)
    assert project.terminal("destroy", answers).wait()[0] == 0
    assert project.unfinished() == {}
