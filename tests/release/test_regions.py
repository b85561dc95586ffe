"""Regions in a stack file that do not exist."""

from pathlib import Path

import pytest

from release.regions import unknown_regions
from release.stack_file import ACCOUNT, ROOT, Stack, read_stack
from tests.release.fake_aws import FakeAccount, own_stack_file


@pytest.mark.requirement("CG-24")
@pytest.mark.parametrize(
    ("key", "region", "nearest"),
    [
        ("region", "eu-west-9", "eu-west-"),
        ("region", "eu-wset-1", "eu-west-1"),
        ("second_region", "us-weast-1", "us-"),
    ],
)
def test_unknown_region_is_reported_with_the_nearest_one(
    key: str, region: str, nearest: str
) -> None:
    (message,) = unknown_regions(Stack("dev", "1", "eu-west-1", "", {key: region}))
    assert message.startswith(
        f"Pulumi.dev.yaml: {key} is '{region}', which is no AWS region in botocore "
    )
    assert f"did you mean {nearest}" in message
    assert message.endswith("add it to policies.toml")


def test_region_that_is_newer_than_botocore_is_allowed_in_a_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("release.regions.ALLOWED_REGIONS", ["eu-west-9"])
    assert unknown_regions(Stack("dev", "1", "eu-west-9", "", {"region": "eu-west-9"})) == []


def test_stacks_of_the_repository_have_known_regions() -> None:
    stacks = [
        *(read_stack(name) for name in ("dev", "staging", "prod")),
        read_stack("main", ROOT / "account", ACCOUNT),
    ]
    assert [message for stack in stacks for message in unknown_regions(stack)] == []


@pytest.mark.parametrize("command", ["bootstrap", "verify"])
def test_commands_reject_an_unknown_region(command: str, tmp_path: Path) -> None:
    text = own_stack_file().replace("eu-west-1", "eu-west-9")
    (line,) = FakeAccount(folder=tmp_path).refusal(command, stack_file=text).splitlines()
    assert line.startswith(f"{command}: Pulumi.dev.yaml: region is 'eu-west-9'")
