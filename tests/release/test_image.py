"""Build of the image, its digest in the stack file, and the tag of a deployed image."""

from pathlib import Path

import pytest

from release.image import DEPLOYED_TAG, RELEASE_TAG
from tests.release.fake_aws import ACCOUNT, NEW, OLD, FakeAccount, release
from tests.release.test_release import digest


@pytest.mark.requirement("TR-17")
def test_image_is_built_for_arm_and_its_digest_written(
    account: FakeAccount, tmp_path: Path
) -> None:
    result = release(account, tmp_path, "image", image=f"sha256:{'0' * 64}")
    assert result.returncode == 0, result.stderr
    registry = f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com"
    assert account.steps == [f"login {registry} registry-password", "build"]
    assert account.pushed is not None
    tag, platform = account.pushed[OLD]
    assert (tag.startswith(RELEASE_TAG), platform) == (True, "linux/arm64")
    assert digest(tmp_path) == OLD
    assert "registry-password" not in result.stdout + result.stderr


def test_builder_without_arm_is_reported(account: FakeAccount, tmp_path: Path) -> None:
    account.platforms = "linux/amd64, linux/386"
    result = release(account, tmp_path, "image")
    assert (result.returncode, account.steps) == (2, [])
    assert (
        "image: docker cannot build for linux/arm64. Run: docker run --privileged" in result.stderr
    )


def test_missing_repository_is_reported(account: FakeAccount, tmp_path: Path) -> None:
    account.pushed = None
    result = release(account, tmp_path, "image")
    assert (result.returncode, account.steps, digest(tmp_path)) == (1, [], NEW)
    assert (
        "image: the repository gatehouse-dev-runtime does not exist in eu-west-1." in result.stderr
    )


@pytest.mark.requirement("SS-09", "TR-17")
def test_deployed_image_is_tagged(account: FakeAccount, tmp_path: Path) -> None:
    assert release(account, tmp_path, "deploy", "--yes").returncode == 0
    assert account.pushed is not None
    assert account.pushed[NEW] == [f"{DEPLOYED_TAG}{'b' * 32}"]


def test_failed_deployment_does_not_tag_the_image(account: FakeAccount, tmp_path: Path) -> None:
    account.rolls_back = True
    assert release(account, tmp_path, "deploy", "--yes").returncode == 1
    assert account.pushed is not None
    assert NEW not in account.pushed


def test_deployment_succeeds_although_the_image_is_already_tagged(
    account: FakeAccount, tmp_path: Path
) -> None:
    account.pushed = {NEW: [f"{DEPLOYED_TAG}{'b' * 32}"]}
    assert release(account, tmp_path, "deploy", "--yes").returncode == 0
    assert account.pushed is not None
    assert account.pushed[NEW] == [f"{DEPLOYED_TAG}{'b' * 32}"]
