"""A pipeline requires a signed image and protected environments."""

import pytest

from tests.release.fake_aws import ACCOUNT, NEW, OLD, FakeAccount, own_stack_file

IMAGE = f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/gatehouse-dev-runtime@{NEW}"
OTHER = IMAGE.replace(NEW, OLD)
IDENTITY = "https://github.com/acme/gatehouse/.github/workflows/image.yml@refs/heads/main"


def with_pipeline() -> str:
    before, section, after = own_stack_file().partition("  gatehouse:settings:\n")
    return f"{before}{section}    delivery:\n      repository: acme/gatehouse\n{after}"


@pytest.mark.requirement("TR-17", "SS-08")
def test_signed_image_is_deployed(account: FakeAccount) -> None:
    account.signed_by = {IMAGE: IDENTITY}
    result = account.release("deploy", "--yes", stack_file=with_pipeline())
    assert result.returncode == 0, result.stderr
    assert account.steps[:2] == [f"verify {IMAGE}", "preview"]


@pytest.mark.requirement("TR-17", "SS-08")
@pytest.mark.parametrize(
    "signed_by",
    [{IMAGE: IDENTITY.replace("main", "feature")}, {OTHER: IDENTITY}],
    ids=["other branch", "other image"],
)
def test_other_images_are_not_deployed(account: FakeAccount, signed_by: dict[str, str]) -> None:
    account.signed_by = signed_by
    result = account.release("deploy", "--yes", stack_file=with_pipeline())
    assert (result.returncode, account.steps) == (2, [f"verify {IMAGE}"])
    assert result.stderr.startswith(f"deploy: {IMAGE} is not signed by {IDENTITY} (no matching")


def test_missing_cosign_is_reported(account: FakeAccount) -> None:
    error = account.refusal("deploy", "--yes", stack_file=with_pipeline(), cosign=False)
    assert error.startswith("deploy: cosign is not on PATH")


@pytest.mark.parametrize("option", [[], ["--unsigned"]], ids=["signed", "unsigned"])
def test_trusted_environments_need_protection_rules(
    account: FakeAccount, option: list[str]
) -> None:
    account.signed_by = {IMAGE: IDENTITY}
    command = ("deploy", "--yes", *option)
    error = account.refusal(*command, stack_file=with_pipeline(), protected=False)
    assert error.count("gh api --method PUT ") == 4


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
    account: FakeAccount, command: tuple[str, ...], step: str, digest: str
) -> None:
    account.release(*command, "--yes", stack_file=with_pipeline())
    assert (account.steps[0], account.digest()) == (step, digest)


def test_previews_and_stacks_without_pipeline_need_no_signature(account: FakeAccount) -> None:
    assert account.release("preview", stack_file=with_pipeline()).returncode == 0
    assert account.steps == ["preview"]


def test_repository_of_the_workflow_is_the_default(account: FakeAccount) -> None:
    assert account.release("deploy", "--yes", github_repository="acme/gatehouse").returncode == 2
    assert account.steps == [f"verify {IMAGE}"]
