"""Build, digest, tag and signature of the image."""

import resource
from pathlib import Path

import pytest

from release.image import DEPLOYED_TAG
from release.pulumi.stack import write_digest
from tests import processes
from tests.release.fake_aws import ACCOUNT, NEW, OLD
from tests.release.fake_cli import FakePulumi, deployed, own_stack_file

TAG = f"{DEPLOYED_TAG}{'b' * 32}"
REGISTRY = f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com"
IMAGE = f"{REGISTRY}/gatehouse-dev-runtime@{NEW}"
OTHER = IMAGE.replace(NEW, OLD)
IDENTITY = "https://github.com/acme/gatehouse/.github/workflows/image.yml@refs/heads/main"
PIPELINE = own_stack_file(delivery={"repository": "acme/gatehouse"})


def test_image_is_built_for_arm_and_its_digest_written(account: FakePulumi) -> None:
    aws = '[ "$4" = eu-west-1 ] && echo registry-password\n'
    processes.executable(account.folder / "bin" / "aws", f"#!/bin/bash\n{aws}")
    result = account.release("image", image=f"sha256:{'0' * 64}")
    assert result.returncode == 0, result.stderr
    login, *steps = account.steps
    assert login == f"login {REGISTRY} registry-password"
    assert (steps[0], steps[-1]) == ("build", "create aws-otel-collector")
    tag, platform = account.pushed[OLD]
    assert (tag.startswith("release-"), platform) == (True, "linux/arm64")
    assert account.digest() == OLD
    assert "registry-password" not in result.stdout + result.stderr


@pytest.mark.parametrize(("stdin", "steps"), [("dev\n", ["up of the registry", "build"]), ("", [])])
def test_registry_is_created_before_the_first_image(
    account: FakePulumi, stdin: str, steps: list[str]
) -> None:
    account.has_registry = False
    processes.executable(account.folder / "bin" / "aws", "#!/bin/bash\necho password\n")
    result = account.release("image", image=f"sha256:{'0' * 64}", stdin=stdin)
    assert result.returncode == (0 if steps else 1), result.stderr
    assert [step for step in account.steps if step in ("up of the registry", "build")] == steps
    assert ("ns-1.example" in result.stdout) == bool(steps)


def test_registry_requires_the_stack(account: FakePulumi) -> None:
    account.has_registry, account.stacks = False, ()
    assert "make bootstrap ENV=dev" in account.refusal("image")


def test_builder_without_arm_builds_nothing(account: FakePulumi) -> None:
    account.platforms = "linux/amd64, linux/386"
    result = account.release("image")
    assert (result.returncode, account.steps, account.digest()) == (1, [], NEW)


@pytest.mark.parametrize("tags", [[], [TAG]], ids=["first deployment", "already tagged"])
def test_deployed_image_is_tagged(account: FakePulumi, tags: list[str]) -> None:
    account.pushed = {NEW: [*tags], OLD: [TAG]}
    result = account.release("deploy", "--yes")
    (tag,) = account.pushed[NEW]
    assert (result.returncode, tag.startswith(DEPLOYED_TAG)) == (0, True)
    assert "not marked as deployed" not in result.stdout + result.stderr


def test_failed_deployment_does_not_tag_the_image(account: FakePulumi) -> None:
    account.rolls_back = True
    assert account.release("deploy", "--yes").returncode == 1
    assert NEW not in account.pushed


@pytest.mark.parametrize(
    ("signed", "identity", "accepted"),
    [
        (IMAGE, IDENTITY, True),
        (IMAGE, IDENTITY.replace("main", "feature"), False),
        (OTHER, IDENTITY, False),
    ],
    ids=["signed", "other branch", "other image"],
)
def test_only_signed_images_are_deployed(
    account: FakePulumi, signed: str, identity: str, accepted: bool
) -> None:
    account.signed_by = {signed: identity}
    result = account.release("deploy", "--yes", stack_file=PIPELINE)
    assert (result.returncode, account.images()) == ((0, {NEW}) if accepted else (2, {OLD}))
    assert account.steps[0] == f"verify {IMAGE}"


@pytest.mark.parametrize("option", [[], ["--unsigned"]], ids=["signed", "unsigned"])
def test_trusted_environments_need_protection_rules(account: FakePulumi, option: list[str]) -> None:
    account.signed_by = {IMAGE: IDENTITY}
    words = ("deploy", "--yes", *option)
    error = account.refusal(*words, stack_file=PIPELINE, protected=False)
    assert "scripts/pipeline.sh dev acme/gatehouse" in error


BACK = ("rollback", "--digest", OLD)


@pytest.mark.parametrize(
    ("command", "step", "digest"),
    [
        (("deploy", "--unsigned"), "preview", NEW),
        ((*BACK, "--unsigned"), "preview", OLD),
        (BACK, f"verify {OTHER}", NEW),
        (("rollback",), f"verify {OTHER}", NEW),
    ],
)
def test_unsigned_images_are_deployed_on_request(
    account: FakePulumi, command: tuple[str, ...], step: str, digest: str
) -> None:
    deployed(account, NEW).release(*command, "--yes", stack_file=PIPELINE)
    assert (account.steps[0], account.digest()) == (step, digest)


def test_previews_need_no_signature(account: FakePulumi) -> None:
    assert account.release("preview", stack_file=PIPELINE).returncode == 0
    assert account.steps == ["preview"]


def test_repository_of_the_workflow_is_the_default(account: FakePulumi) -> None:
    result = account.release("deploy", "--yes", GITHUB_REPOSITORY="acme/gatehouse")
    assert (result.returncode, account.steps) == (2, [f"verify {IMAGE}"])


def test_full_disk_keeps_the_stack_file(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.dev.yaml"
    text = f"    image:\n      digest: sha256:{'0' * 64}\n"
    file.write_text(text)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            write_digest(file, NEW)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert file.read_text() == text


def test_stack_file_keeps_its_mode_and_its_link(tmp_path: Path) -> None:
    file, link = tmp_path / "shared.yaml", tmp_path / "Pulumi.dev.yaml"
    file.write_text(f"image:\n  digest: sha256:{'0' * 64}\n")
    file.chmod(0o664)
    link.symlink_to(file)
    write_digest(link, NEW)
    assert file.read_text().endswith(f"{NEW}\n")
    assert (link.is_symlink(), file.stat().st_mode & 0o777) == (True, 0o664)


def test_stack_file_with_two_digests_is_not_changed(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.dev.yaml"
    file.write_text(2 * f"image:\n  digest: sha256:{'0' * 64}\n")
    with pytest.raises(ValueError, match="2 lines"):
        write_digest(file, NEW)
    assert NEW not in file.read_text()
