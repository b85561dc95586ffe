"""Build, digest and tag of the image."""

import pytest

from release.image import DEPLOYED_TAG, RELEASE_TAG
from tests.release.fake_aws import ACCOUNT, NEW, OLD, FakeAccount

TAG = f"{DEPLOYED_TAG}{'b' * 32}"


@pytest.mark.requirement("TR-17")
def test_image_is_built_for_arm_and_its_digest_written(account: FakeAccount) -> None:
    result = account.release("image", image=f"sha256:{'0' * 64}")
    assert result.returncode == 0, result.stderr
    registry = f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com"
    assert account.steps == [f"login {registry} registry-password", "build"]
    assert account.pushed is not None
    tag, platform = account.pushed[OLD]
    assert (tag.startswith(RELEASE_TAG), platform) == (True, "linux/arm64")
    assert account.digest() == OLD
    assert "registry-password" not in result.stdout + result.stderr


def test_builder_without_arm_is_reported(account: FakeAccount) -> None:
    account.platforms = "linux/amd64, linux/386"
    error = account.refusal("image")
    assert "image: docker cannot build for linux/arm64. Run: docker run --privileged" in error


def test_missing_repository_is_reported(account: FakeAccount) -> None:
    account.pushed = None
    result = account.release("image")
    assert (result.returncode, account.steps, account.digest()) == (1, [], NEW)
    assert (
        "image: the repository gatehouse-dev-runtime does not exist in eu-west-1." in result.stderr
    )


@pytest.mark.requirement("SS-09", "TR-17")
@pytest.mark.parametrize("tags", [[], [TAG]], ids=["first deployment", "already tagged"])
def test_deployed_image_is_tagged(account: FakeAccount, tags: list[str]) -> None:
    account.pushed = {NEW: [*tags], OLD: [] if tags else [TAG]}
    result = account.release("deploy", "--yes")
    (tag,) = account.pushed[NEW]
    assert (result.returncode, tag.startswith(DEPLOYED_TAG)) == (0, True)
    assert "not marked as deployed" not in result.stdout + result.stderr


def test_failed_deployment_does_not_tag_the_image(account: FakeAccount) -> None:
    account.rolls_back = True
    assert account.release("deploy", "--yes").returncode == 1
    assert account.pushed is not None
    assert NEW not in account.pushed
