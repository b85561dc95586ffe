"""Versions of moto that lack a name."""

from typing import Any

import pytest
from gatehouse_policies.errors import CheckError
from gatehouse_policies.program.types import Registration
from moto.iam.access_control import IAMRequestBase

from sandbox.emulator import moto_patches
from sandbox.emulator.request import CreateRequest
from sandbox.emulator.server import Emulator

REGION = "eu-west-1"
REQUEST = CreateRequest(
    Registration("urn", "aws:a/b:B", "b", True, "", {}),
    region=REGION,
    tags={},
    client=lambda _service, _region: None,
)


def remove(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = moto_patches._place(path)
    assert place is not None, f"moto has no {path}"
    monkeypatch.delattr(*place)


@pytest.mark.parametrize("path", moto_patches.CORRECTIONS)
def test_emulator_without_a_corrected_name_does_not_start(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove(path, monkeypatch)
    with pytest.raises(CheckError, match=f"moto .* has no {path}.* make init"):
        Emulator.start()


@pytest.mark.parametrize("path", moto_patches.FASTER)
def test_name_that_only_takes_less_time_can_be_absent(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    another = {f"{path}_of_another_version": lambda _: None}
    monkeypatch.setattr(moto_patches, "FASTER", another)
    with Emulator.start() as emulator:
        key = emulator.client("kms", REGION).create_key()["KeyMetadata"]
    assert key["KeySpec"] == "SYMMETRIC_DEFAULT"


@pytest.mark.parametrize(
    "write",
    [
        lambda: moto_patches.separate_replica_key(REQUEST, "id"),
        lambda: moto_patches.set_secret_rotation(REQUEST, "id", "arn", 30),
        lambda: moto_patches.issue_certificate(REQUEST, "arn"),
        lambda: moto_patches.set_account_public_access_block("1", {}),
        lambda: moto_patches.delete_account_public_access_block("1"),
        lambda: moto_patches.remove(REQUEST, "backup", "plans", "id"),
        lambda: moto_patches.replicated_database("arn:aws:rds:eu-west-1:1:auto-backup:ab-1"),
    ],
)
def test_another_form_of_state_is_an_error(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    state = {account: {REGION: object(), "aws": object()} for account in ("1", "123456789012")}
    monkeypatch.setattr(moto_patches, "get_backend", lambda _service: state)
    with pytest.raises(CheckError, match=r"moto .* has no .* state: .* make init"):
        write()


def test_another_form_of_requests_is_an_error_of_moto(monkeypatch: pytest.MonkeyPatch) -> None:
    original = IAMRequestBase.__init__

    def without_action(request: Any, *args: Any, **kwargs: Any) -> None:
        original(request, *args, **kwargs)
        del request._action

    with Emulator.start() as emulator:
        iam = emulator.client("iam", REGION)
        iam.create_user(UserName="reader")
        key = iam.create_access_key(UserName="reader")["AccessKey"]
        client = emulator.clients(key["AccessKeyId"], key["SecretAccessKey"])
        request = CreateRequest(REQUEST.registration, region=REGION, tags={}, client=client)
        emulator.permissions.enforce(True)
        monkeypatch.setattr(IAMRequestBase, "__init__", without_action)
        with pytest.raises(CheckError, match="an error in moto, not in the program"):
            request.call("sqs.list_queues")
