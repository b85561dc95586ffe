"""A state that others changed, and operations with an unknown result."""

from typing import Any

import pytest
from gatehouse_policies.analysis.type_tokens import AWS_PROVIDER

from tests.components.program import run
from tests.release.fake_cli import FakePulumi, own_stack_file

KMS = "awskms://alias/gatehouse-pulumi-state?region=eu-west-1"
URN = "urn:pulumi:dev::gatehouse::aws:s3/bucket:Bucket::logs"
PROVIDER = "urn:pulumi:dev::gatehouse::pulumi:providers:aws::default"
BUCKET = {"urn": URN, "type": "aws:s3/bucket:Bucket"}
COMMANDS = ("preview", "drift", "deploy", "rollback", "destroy")


def assert_rejected(account: FakePulumi, message: str, **options: Any) -> None:
    for command in COMMANDS:
        assert f"the state of the stack dev {message}" in account.refusal(command, **options)


@pytest.mark.parametrize("command", ["deploy", "rollback", "destroy"])
def test_operations_with_an_unknown_result_are_reported(account: FakePulumi, command: str) -> None:
    account.unfinished = [{"type": "creating", "resource": BUCKET}]
    options = ("--digest", f"sha256:{'f' * 64}") if command == "rollback" else ()
    result = account.release(command, *options)
    assert (result.returncode != 0, account.steps) == (True, [])
    assert f"pulumi refresh --stack dev --target '**{URN}'. " in result.stderr


def test_preview_works_during_an_update(account: FakePulumi) -> None:
    account.unfinished = [{"type": "creating", "resource": BUCKET}]
    assert (account.release("preview").returncode, account.steps) == (0, ["preview"])


@pytest.mark.parametrize(
    ("package", "inputs"),
    [
        ("command", {}),
        ("pulumi-python", {}),
        ("pulumi", {}),  # reads other stacks
        ("aws", {"__internal": {"pluginDownloadURL": "https://acme.dev"}}),
        ("aws", {"pluginDownloadURL": "https://acme.dev"}),
        ("aws", {"endpoints": '[{"sts": "https://acme.dev"}]'}),
        ("aws", {"assumeRoleWithWebIdentity": '{"webIdentityTokenFile": "/home/ada/key"}'}),
        ("aws", {"region": "x@acme.dev/?", "version": "6.0.0"}),
    ],
)
def test_plugins_of_others_are_not_run(
    account: FakePulumi, package: str, inputs: dict[str, Any]
) -> None:
    urn = f"urn:pulumi:dev::gatehouse::pulumi:providers:{package}::default"
    account.resources = [{"urn": urn, "inputs": inputs}]
    assert_rejected(account, f"configures the plugin {package} ")


@pytest.mark.parametrize(
    "start",
    [
        "urn:pulumi:pulumi:providers:aws::gatehouse",
        "urn:pulumi::dev::gatehouse",  # the stack of the engine is ":dev"
        "urn:pulumi:prod::gatehouse",
        "urn:pulumi:dev::other",
        "urn:pulumi:dev::gatehouse::pulumi:providers:aws:x",  # a provider of the package "aws:x"
    ],
)
def test_resources_of_other_stacks_are_rejected(account: FakePulumi, start: str) -> None:
    account.resources = [{"urn": f"{start}::pulumi:providers:pulumi-python::default"}]
    assert_rejected(account, "has a resource of another stack")


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("cloud", {"url": f"{KMS}&endpoint=https://acme.dev"}),
        ("cloud", {"url": KMS, "Url": "awskms://x"}),
        ("service", {"url": KMS}),
    ],
)
def test_key_of_others_is_not_used(account: FakePulumi, kind: str, key: dict[str, str]) -> None:
    account.secrets = {"type": kind, "state": {**key, "encryptedkey": "x"}}
    file = f"secretsprovider: {KMS}\n{own_stack_file()}"
    assert_rejected(account, "names another key for secrets than Pulumi.dev.yaml", stack_file=file)


@pytest.mark.parametrize(
    ("row", "parts", "message"),
    [
        # The engine runs the provider of the package, such as code in `__provider`.
        ({"custom": True}, {}, "has a resource without a provider: "),
        ({"custom": True, "provider": f"{PROVIDER}::1"}, {}, "has a resource without a provider: "),
        ({"type": "pulumi:providers:x"}, {}, "is malformed"),
        ({}, {"snippets": []}, "has parts that the program does not have: snippets"),
        ({}, {"secrets_providers": {"type": "cloud"}}, "is malformed"),
        ({}, {"pending_operations": [{"type": "creating"}]}, "is malformed"),
    ],
)
def test_state_that_the_program_does_not_create_is_rejected(
    account: FakePulumi, row: dict[str, Any], parts: dict[str, Any], message: str
) -> None:
    urn = "urn:pulumi:dev::gatehouse::pulumi-python:dynamic:Resource::x"
    account.resources = [{"urn": PROVIDER, "id": "1"}, {"urn": urn, **row}]
    account.parts = parts
    assert_rejected(account, message)


def test_plugin_of_the_program_and_key_of_the_stack_are_accepted(account: FakePulumi) -> None:
    account.secrets = {"type": "cloud", "state": {"url": KMS, "encryptedkey": "x"}}
    (provider,) = (row for row in run("dev").resources if row.type == AWS_PROVIDER)
    inputs = {"__internal": {}, "version": "7.51.0", **provider.inputs}
    resource = {"urn": URN, "custom": True, "provider": f"{PROVIDER}::1"}
    account.resources = [{"urn": PROVIDER, "id": "1", "inputs": inputs}, resource]
    stack_file = f"secretsprovider: {KMS}\n{own_stack_file()}"
    assert account.release("preview", stack_file=stack_file).returncode == 0
