"""The rotation function against an emulated Secrets Manager."""

from __future__ import annotations

import base64
import json
import logging
import re
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from gatehouse.crypto import token as apikey
from moto import mock_aws

from tests.runtime.functions.functions import load

STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")


rotate = load("rotate")


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("GATEHOUSE_KEY_PREFIX", "gtk")
    with mock_aws():
        yield boto3.client("secretsmanager")


def make(manager: Any, kind: str) -> str:
    return str(manager.create_secret(Name=f"gatehouse/dev/{kind}")["ARN"])


def run(secret: str, *steps: str, token: str = "") -> str:
    token = token or str(uuid.uuid4())
    for step in steps or STEPS:
        rotate.handler({"Step": step, "SecretId": secret, "ClientRequestToken": token}, None)
    return token


def begin(manager: Any, secret: str) -> str:
    """What RotateSecret does before the first step: the version is there, pending, and has no value of ours yet."""
    token = str(uuid.uuid4())
    manager.put_secret_value(SecretId=secret, ClientRequestToken=token, SecretString="{}", VersionStages=["AWSPENDING"])
    return token


def value(manager: Any, secret: str, stage: str = "AWSCURRENT") -> str:
    return str(manager.get_secret_value(SecretId=secret, VersionStage=stage)["SecretString"])


@pytest.mark.requirement("ECS-06")
@pytest.mark.parametrize("kind", ["pepper", "session-key"])
def test_a_secret_without_a_value_gets_its_first_generation(manager: Any, kind: str) -> None:
    secret = make(manager, kind)
    run(secret)
    document = json.loads(value(manager, secret))
    assert document["current"] == 1
    assert len(base64.b64decode(document["generations"]["1"])) == 32


@pytest.mark.requirement("ECS-06")
def test_the_first_bootstrap_token_has_the_form_and_the_checksum_that_the_runtime_knows(manager: Any) -> None:
    secret = make(manager, "bootstrap-token")
    run(secret)
    token = value(manager, secret)
    assert re.fullmatch(r"gtk_admin_[0-9A-Za-z]{49}", token)
    assert apikey.checksum(token[:-6]) == token[-6:]


def test_a_later_rotation_adds_a_generation_and_keeps_the_ones_before(manager: Any) -> None:
    secret = make(manager, "pepper")
    run(secret)
    first = json.loads(value(manager, secret))
    second = json.loads(rotate._KINDS["pepper"](value(manager, secret)))
    assert second["current"] == 2
    assert second["generations"]["1"] == first["generations"]["1"]


@pytest.mark.requirement("TR-08")
def test_eight_years_of_monthly_rotations_take_no_generation_of_the_pepper_from_a_key() -> None:
    text = rotate.first_value("pepper")
    first = json.loads(text)["generations"]["1"]
    for _ in range(99):
        text = rotate._next_generation(text, rotate.KEPT["pepper"])
    document = json.loads(text)
    assert (document["current"], document["generations"]["1"], len(document["generations"])) == (100, first, 100)
    assert len(text) < 65_536 / 8  # Secrets Manager takes 65,536 bytes


@pytest.mark.parametrize(("kind", "kept"), [("pepper", 100), ("session-key", 3)])
def test_then_the_oldest_generation_goes(kind: str, kept: int) -> None:
    text = rotate.first_value(kind)
    for _ in range(kept + 1):
        text = rotate._KINDS[kind](text)
    document = json.loads(text)
    assert sorted(map(int, document["generations"])) == list(range(3, kept + 3))
    assert document["current"] == kept + 2


def test_a_rotation_moves_current_and_keeps_the_value_before(manager: Any) -> None:
    secret = make(manager, "pepper")
    run(secret)
    before = value(manager, secret)
    token = str(uuid.uuid4())
    made = rotate._KINDS["pepper"](before)
    manager.put_secret_value(SecretId=secret, ClientRequestToken=token, SecretString=made, VersionStages=["AWSPENDING"])
    run(secret, token=token)
    assert value(manager, secret) == made
    assert value(manager, secret, "AWSPREVIOUS") == before


@pytest.mark.parametrize("kind", ["pepper", "bootstrap-token"])
def test_every_step_may_be_repeated_and_the_value_stays_the_first_one(manager: Any, kind: str) -> None:
    secret = make(manager, kind)
    token = run(secret, "createSecret")
    first = value(manager, secret, "AWSPENDING")
    run(secret, "createSecret", "createSecret", "setSecret", "setSecret", "testSecret", "testSecret", token=token)
    run(secret, "finishSecret", "finishSecret", "createSecret", token=token)
    assert value(manager, secret) == first


def test_a_finished_rotation_leaves_nothing_pending(manager: Any) -> None:
    secret = make(manager, "pepper")
    token = run(secret)
    assert manager.describe_secret(SecretId=secret)["VersionIdsToStages"][token] == ["AWSCURRENT"]


def test_a_rotation_of_the_bootstrap_token_makes_another_one(manager: Any) -> None:
    secret = make(manager, "bootstrap-token")
    run(secret)
    before = value(manager, secret)
    assert rotate._new_token(before) != before


def test_a_version_that_is_no_part_of_a_rotation_is_refused(manager: Any) -> None:
    secret = make(manager, "pepper")
    run(secret)
    with pytest.raises(rotate.RotationRefused, match=r"has no version .*: start the rotation with RotateSecret"):
        run(secret, "createSecret", token=str(uuid.uuid4()))


def test_a_version_that_is_not_pending_is_refused(manager: Any) -> None:
    secret = make(manager, "pepper")
    run(secret)
    token = str(uuid.uuid4())
    manager.put_secret_value(SecretId=secret, ClientRequestToken=token, SecretString="{}", VersionStages=["other"])
    with pytest.raises(rotate.RotationRefused, match="is not AWSPENDING"):
        run(secret, "createSecret", token=token)


def test_an_unknown_step_is_refused_with_those_that_exist(manager: Any) -> None:
    with pytest.raises(rotate.RotationRefused, match="there is no step dropSecret; there are createSecret, setSecret"):
        run(make(manager, "pepper"), "dropSecret")


def test_a_secret_of_another_kind_is_not_touched(manager: Any) -> None:
    secret = make(manager, "database-owner")
    with pytest.raises(rotate.RotationRefused, match="its name must end in pepper, session-key, bootstrap-token"):
        run(secret)
    assert manager.describe_secret(SecretId=secret).get("VersionIdsToStages") is None


@pytest.mark.parametrize("event", [{}, {"Step": "createSecret"}, {"Step": 1, "SecretId": "a", "ClientRequestToken": "b"}])
def test_an_event_of_somebody_else_is_refused(event: dict[str, Any]) -> None:
    with pytest.raises(rotate.RotationRefused, match="the event lacks"):
        rotate.handler(event, None)


def test_a_damaged_pepper_is_not_replaced_by_one_that_knows_no_older_keys() -> None:
    with pytest.raises(rotate.RotationRefused, match="mend it first, or what it protects is lost"):
        rotate._KINDS["pepper"]('{"current": 1, "generations": {}}')


def test_a_pending_value_of_the_wrong_form_does_not_become_current(manager: Any) -> None:
    secret = make(manager, "pepper")
    run(secret)
    token = begin(manager, secret)
    with pytest.raises(rotate.RotationRefused, match="is no list of generations"):
        run(secret, token=token)


@pytest.mark.parametrize("prefix", ["", "GTK", "a b"])
def test_a_bootstrap_token_needs_the_brand_of_the_keys(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    monkeypatch.setenv("GATEHOUSE_KEY_PREFIX", prefix)
    with pytest.raises(rotate.RotationRefused, match="GATEHOUSE_KEY_PREFIX of this function must be the brand"):
        rotate.first_value("bootstrap-token")


def test_no_value_is_ever_logged(manager: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="gatehouse.rotate"):
        for kind in ("pepper", "session-key", "bootstrap-token"):
            secret = make(manager, kind)
            run(secret)
            held = value(manager, secret)
            for part in re.findall(r"[0-9A-Za-z+/=]{40,}", held):
                assert part not in caplog.text
    assert caplog.text.count('"event": "done"') == 12


def test_the_alphabet_and_the_lengths_are_those_of_the_runtime() -> None:
    assert (rotate.ALPHABET, rotate.TOKEN_SECRET_CHARS, rotate.CHECKSUM_CHARS) == (
        apikey.ALPHABET,
        apikey.SECRET_CHARS,
        apikey.CHECKSUM_CHARS,
    )
    assert rotate._checksum("gtk_live_abcdefghijklmnopqrstuvwxyz0123") == "0AftsS"
