"""The rotation function against an emulated Secrets Manager."""

import base64
import json
import logging
import re
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from gatehouse.core.keys import KeyEnvironment
from gatehouse.core.tokens import token as apikey
from moto import mock_aws
from pydantic import SecretStr

from tests.runtime.functions.function_loader import load

STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")


rotate = load("rotate")


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("GATEHOUSE_KEY_PREFIX", "gtk")
    monkeypatch.setenv("GATEHOUSE_KEY_ENVIRONMENT", "test")
    with mock_aws():
        yield boto3.client("secretsmanager")


def create_secret(manager: Any, kind: str) -> str:
    return str(manager.create_secret(Name=f"gatehouse/dev/{kind}")["ARN"])


def run(secret: str, *steps: str, token: str = "") -> str:
    token = token or str(uuid.uuid4())
    for step in steps or STEPS:
        rotate.handler({"Step": step, "SecretId": secret, "ClientRequestToken": token}, None)
    return token


def start_rotation(manager: Any, secret: str) -> str:
    token = str(uuid.uuid4())
    manager.put_secret_value(
        SecretId=secret, ClientRequestToken=token, SecretString="{}", VersionStages=["AWSPENDING"]
    )
    return token


def value(manager: Any, secret: str, stage: str = "AWSCURRENT") -> str:
    return str(manager.get_secret_value(SecretId=secret, VersionStage=stage)["SecretString"])


@pytest.mark.parametrize("kind", ["pepper", "session-key"])
def test_first_rotation_creates_generation_1(manager: Any, kind: str) -> None:
    secret = create_secret(manager, kind)
    run(secret)
    document = json.loads(value(manager, secret))
    assert document["current"] == 1
    assert len(base64.b64decode(document["generations"]["1"])) == 32


def test_bootstrap_token_has_format_and_checksum_of_runtime(manager: Any) -> None:
    secret = create_secret(manager, "bootstrap-token")
    run(secret)
    token = value(manager, secret)
    assert re.fullmatch(r"gtk_admin_[0-9A-Za-z]{49}", token)
    assert apikey.checksum(token[:-6]) == token[-6:]
    assert rotate._new_token(token) != token


def read_pepper(manager: Any) -> apikey.Pepper:
    text = value(manager, "gatehouse/dev/pepper")
    return apikey.read_pepper(SecretStr(text), "GATEHOUSE_PEPPER")


def test_canary_key_has_a_token_of_the_runtime_and_the_next_one(manager: Any) -> None:
    run(create_secret(manager, "pepper"))
    secret = create_secret(manager, "canary-key")
    tokens = list[str]()
    run(secret)
    text = value(manager, secret)
    for _ in range(3):
        assert text.split(" ")[:-1] == tokens[-1:]
        tokens.append(text.split(" ")[-1])
        text = rotate._next_tokens(text, value(manager, "gatehouse/dev/pepper"))
    assert len(set(tokens)) == 3
    for text in tokens:
        token = apikey.parse(text, "gtk")
        assert token is not None
        assert token.environment is KeyEnvironment.TEST
        assert apikey.is_marked(token.id, read_pepper(manager))


def test_canary_key_waits_for_the_pepper(manager: Any) -> None:
    create_secret(manager, "pepper")
    secret = create_secret(manager, "canary-key")
    with pytest.raises(rotate.RotationError, match="the pepper has no value yet"):
        run(secret)
    run("gatehouse/dev/pepper")
    run(secret)


@pytest.mark.parametrize(("kind", "generations_max"), [("pepper", 100), ("session-key", 3)])
def test_oldest_generation_is_removed_above_maximum(kind: str, generations_max: int) -> None:
    text = rotate.KINDS[kind](None)
    for _ in range(generations_max + 1):
        text = rotate.KINDS[kind](text)
    document = json.loads(text)
    assert sorted(map(int, document["generations"])) == list(range(3, generations_max + 3))
    assert document["current"] == generations_max + 2


def test_finish_moves_current_and_preserves_previous_value(manager: Any) -> None:
    secret = create_secret(manager, "pepper")
    run(secret)
    before = value(manager, secret)
    token = str(uuid.uuid4())
    pending = rotate.KINDS["pepper"](before)
    manager.put_secret_value(
        SecretId=secret,
        ClientRequestToken=token,
        SecretString=pending,
        VersionStages=["AWSPENDING"],
    )
    run(secret, token=token)
    assert value(manager, secret) == pending
    assert value(manager, secret, "AWSPREVIOUS") == before
    assert manager.describe_secret(SecretId=secret)["VersionIdsToStages"][token] == ["AWSCURRENT"]


@pytest.mark.parametrize("kind", ["pepper", "bootstrap-token"])
def test_repeated_steps_do_not_change_the_value(manager: Any, kind: str) -> None:
    secret = create_secret(manager, kind)
    token = run(secret, "createSecret")
    first = value(manager, secret, "AWSPENDING")
    run(
        secret,
        "createSecret",
        "createSecret",
        "setSecret",
        "setSecret",
        "testSecret",
        "testSecret",
        token=token,
    )
    run(secret, "finishSecret", "finishSecret", "createSecret", token=token)
    assert value(manager, secret) == first


def test_unknown_version_is_rejected(manager: Any) -> None:
    secret = create_secret(manager, "pepper")
    run(secret)
    with pytest.raises(
        rotate.RotationError, match=r"has no version .*: start the rotation with RotateSecret"
    ):
        run(secret, "createSecret", token=str(uuid.uuid4()))


def test_version_that_is_not_pending_is_rejected(manager: Any) -> None:
    secret = create_secret(manager, "pepper")
    run(secret)
    token = str(uuid.uuid4())
    manager.put_secret_value(
        SecretId=secret, ClientRequestToken=token, SecretString="{}", VersionStages=["other"]
    )
    with pytest.raises(rotate.RotationError, match="is not AWSPENDING"):
        run(secret, "createSecret", token=token)


def test_secret_of_other_kind_is_rejected(manager: Any) -> None:
    secret = create_secret(manager, "database-owner")
    with pytest.raises(
        rotate.RotationError, match="the name must end in pepper, session-key, bootstrap-token"
    ):
        run(secret)
    assert manager.describe_secret(SecretId=secret).get("VersionIdsToStages") is None


@pytest.mark.parametrize(
    "event", [{}, {"Step": "createSecret"}, {"Step": 1, "SecretId": "a", "ClientRequestToken": "b"}]
)
def test_event_of_other_source_is_rejected(event: dict[str, Any]) -> None:
    with pytest.raises(rotate.RotationError, match="the event has no"):
        rotate.handler(event, None)


def test_malformed_pepper_is_not_replaced() -> None:
    with pytest.raises(
        rotate.RotationError, match="the current value is not a list of generations"
    ):
        rotate.KINDS["pepper"]('{"current": 1, "generations": {}}')


def test_malformed_pending_value_does_not_become_current(manager: Any) -> None:
    secret = create_secret(manager, "pepper")
    run(secret)
    token = start_rotation(manager, secret)
    with pytest.raises(rotate.RotationError, match="is not a list of generations"):
        run(secret, token=token)


@pytest.mark.parametrize("prefix", ["", "GTK", "a b"])
def test_bootstrap_token_requires_valid_key_prefix(
    monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    monkeypatch.setenv("GATEHOUSE_KEY_PREFIX", prefix)
    with pytest.raises(
        rotate.RotationError, match="GATEHOUSE_KEY_PREFIX must be the prefix of API keys"
    ):
        rotate.KINDS["bootstrap-token"](None)


def test_log_contains_no_secret_value(manager: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="gatehouse.rotate"):
        for kind in ("pepper", "session-key", "bootstrap-token"):
            secret = create_secret(manager, kind)
            run(secret)
            parts = re.findall(r"[0-9A-Za-z+/=]{40,}", value(manager, secret))
            assert parts
            for part in parts:
                assert part not in caplog.text
    assert caplog.text.count('"event": "rotation_step_completed"') == 12


def test_token_format_matches_the_runtime() -> None:
    assert (rotate.ALPHABET, rotate.STEM_CHARS, rotate.MARK_CHARS) == (
        apikey.ALPHABET,
        apikey.STEM_CHARS,
        apikey.MARK_CHARS,
    )
    assert (rotate.TOKEN_SECRET_CHARS, rotate.CHECKSUM_CHARS) == (
        apikey.SECRET_CHARS,
        apikey.CHECKSUM_CHARS,
    )
    assert rotate._checksum("gtk_live_abcdefghijklmnopqrstuvwxyz0123") == "0AftsS"


def test_first_pepper_of_a_restored_stack_is_the_replica(
    manager: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    generations = rotate.KINDS["pepper"](rotate.KINDS["pepper"](None))
    manager.create_secret(Name="gatehouse/prod/pepper", SecretString=generations)
    monkeypatch.setenv("RESTORED_PEPPER", "gatehouse/prod/pepper")
    secrets = {kind: create_secret(manager, kind) for kind in ("pepper", "session-key")}
    for secret in secrets.values():
        run(secret)
    assert value(manager, secrets["pepper"]) == generations
    assert json.loads(value(manager, secrets["session-key"]))["current"] == 1


@pytest.mark.parametrize("replica", [None, "not a list of generations"])
def test_restored_stack_creates_no_pepper_without_the_replica(
    manager: Any, monkeypatch: pytest.MonkeyPatch, replica: str | None
) -> None:
    if replica:
        manager.create_secret(Name="gatehouse/prod/pepper", SecretString=replica)
    monkeypatch.setenv("RESTORED_PEPPER", "gatehouse/prod/pepper")
    secret = create_secret(manager, "pepper")
    with pytest.raises(rotate.RotationError, match="gatehouse/prod/pepper"):
        run(secret, "createSecret")
    assert manager.describe_secret(SecretId=secret).get("VersionIdsToStages", {}) == {}
