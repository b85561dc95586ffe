"""Prerequisites of `make preview` and `make deploy`."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from gatehouse_policies.analysis.type_tokens import AWS_PROVIDER
from gatehouse_policies.program.types import ACCOUNT as EMULATED_ACCOUNT

from release import pulumi_cli
from release.pulumi_cli import environment
from sandbox.emulator.server import Emulator
from tests.components.program import run
from tests.release.fake_aws import ACCOUNT, LOCK, ROOT, FakeAccount, own_stack_file

KMS = "awskms://alias/gatehouse-pulumi-state?region=eu-west-1"
LOG_IN = (
    "Before the first deployment, run: make bootstrap ENV=dev. Otherwise run: pulumi login "
    f"'s3://gatehouse-pulumi-state-{ACCOUNT}-eu-west-1?region=eu-west-1'"
)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, f"the stack dev does not exist in s3://acme-state. {LOG_IN}"),
        (
            {"backend": "https://app.pulumi.com/acme"},
            "the stack dev does not exist in https://app.pulumi.com/acme. "
            "Run: pulumi stack init --stack dev",
        ),
        (
            {"no_stack": "warning: x\nerror: could not read the bucket: AccessDenied\n"},
            "the Pulumi CLI cannot read the stack dev: error: could not read the bucket: "
            "AccessDenied",
        ),
    ],
    ids=["S3", "Pulumi Cloud", "unreadable"],
)
def test_missing_stack_is_reported(
    account: FakeAccount, fields: dict[str, str], message: str
) -> None:
    account.stacks = ("prod",)
    vars(account).update(fields)
    assert account.refusal("preview") == f"preview: {message}\n"


def test_backend_that_does_not_respond_is_reported(
    account: FakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulumi_cli, "QUERY_TIMEOUT_S", 0)
    assert f"(the backend did not respond within 0 s). {LOG_IN}, or" in account.refusal("preview")


@pytest.mark.parametrize("command", ["preview", "destroy"])
def test_expired_credentials_are_one_message(account: FakeAccount, command: str) -> None:
    account.rejection = "ExpiredToken"
    error = account.refusal(command)
    assert error == (
        f"{command}: AWS rejected the credentials (ExpiredToken). Run: aws sso login, or "
        f"set AWS_PROFILE\n"
    )


def test_unknown_profile_is_one_message() -> None:
    command = [sys.executable, "-m", "release", "preview", "--env", "dev"]
    variables = {**os.environ, "AWS_PROFILE": "staff"}
    result = subprocess.run(
        command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False
    )
    error = "preview: The config profile (staff) could not be found\n"
    assert (result.returncode, result.stderr) == (2, error)


@pytest.mark.parametrize(
    ("header", "cause"),
    [
        ("", "Pulumi.dev.yaml contains neither secretsprovider nor encryptionsalt"),
        ("encryptionsalt: v1:x\n", "the secrets of the stack dev are encrypted with a passphrase"),
    ],
)
def test_missing_passphrase_is_reported(account: FakeAccount, header: str, cause: str) -> None:
    error = account.refusal("preview", stack_file=header + own_stack_file(), has_passphrase=False)
    assert error == (
        f"preview: {cause}. To use the KMS key, run: pulumi stack change-secrets-provider '{KMS}' "
        "--stack dev. To use a passphrase, set PULUMI_CONFIG_PASSPHRASE or "
        "PULUMI_CONFIG_PASSPHRASE_FILE\n"
    )


@pytest.mark.parametrize(
    ("backend", "header"),
    [("s3://acme-state", f"secretsprovider: {KMS}\n"), ("https://app.pulumi.com/acme", "")],
)
def test_kms_key_or_pulumi_cloud_needs_no_passphrase(
    account: FakeAccount, backend: str, header: str
) -> None:
    account.backend = backend
    result = account.release("preview", stack_file=header + own_stack_file(), has_passphrase=False)
    assert (result.returncode, account.steps) == (0, ["preview"]), result.stderr


# github.com/example exists
EXAMPLES = """
    delivery:
      repository: example/gatehouse
      state_bucket: gatehouse-pulumi-state
"""


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (
            (ROOT / "Pulumi.dev.yaml").read_text(),
            "account, domain, secrets.operators, monitoring.runbooks_url",
        ),
        (own_stack_file() + EXAMPLES, "delivery.repository, delivery.state_bucket"),
    ],
)
def test_example_values_are_rejected(account: FakeAccount, text: str, keys: str) -> None:
    error = account.refusal("deploy", "--yes", stack_file=text)
    assert f"example values. Set your own values, or remove the keys: {keys}\n" in error


URN = "urn:pulumi:dev::gatehouse::aws:s3/bucket:Bucket::logs"
PROVIDER = "urn:pulumi:dev::gatehouse::pulumi:providers:aws::default"
OPERATION: dict[str, Any] = {
    "type": "creating",
    "resource": {"urn": URN, "type": "aws:s3/bucket:Bucket"},
}


@pytest.mark.parametrize("command", ["rollback", "destroy"])
def test_lock_is_reported_with_its_owner(account: FakeAccount, command: str) -> None:
    account.locks, account.unfinished = [LOCK], [OPERATION]
    error = account.refusal(command)
    assert error == (
        f"{command}: the stack dev is locked by ada@laptop (process 4711) since "
        f"2026-01-02T03:04:05. Wait until that update has "
        "ended. If its process no longer exists, run: pulumi cancel --stack dev\n"
    )


def test_control_characters_of_a_lock_do_not_reach_the_terminal(account: FakeAccount) -> None:
    account.locks = [{**LOCK, "username": "ada\x1b]0;prod\n"}]
    assert "by ada\ufffd\ufffd0\ufffdprod\ufffd@laptop" in account.refusal("destroy")


def test_control_characters_of_a_log_do_not_reach_the_terminal(account: FakeAccount) -> None:
    event = {"eventId": "1", "timestamp": 1, "message": "a\tb\x1b]0;prod\x07\n"}
    pages = iter([{"events": [event], "nextToken": "2"}])
    account.intercept = lambda call, result: next(pages, result)
    assert account.release("logs").stdout == "a       b\ufffd]0;prod\ufffd\n"


def test_stopped_operations_are_reported(account: FakeAccount) -> None:
    account.unfinished = [OPERATION]
    error = account.refusal("deploy")
    assert (
        f"was stopped during these operations: creating {URN}. Run: pulumi cancel --stack dev; "
        "pulumi refresh --stack dev --target '**aws:s3/bucket:Bucket::logs'. "
    ) in error
    assert error.endswith("must be those of the stack: none\n")
    other = URN.replace("aws:", "x:y:Z$aws:")
    account.resources = [{"urn": URN, "id": "/a"}, {"urn": other, "id": "/b"}]
    account.unfinished += [{**OPERATION, "resource": {**OPERATION["resource"], "urn": other}}]
    error = account.refusal("deploy")
    assert error.count("--target") == 1
    assert error.endswith(f": {URN} (/a), {other} (/b)\n")
    odd = {**OPERATION["resource"], "urn": f"{OPERATION['resource']['urn']}';x'"}
    account.unfinished = [{**OPERATION, "resource": odd}]
    assert "the state of the stack dev is malformed" in account.refusal("deploy")


def test_preview_takes_no_lock(account: FakeAccount) -> None:
    account.locks, account.unfinished = [LOCK], [OPERATION]
    result = account.release("preview")
    assert (result.returncode, account.steps) == (0, ["preview"])


each_command = pytest.mark.parametrize(
    "command", ["preview", "drift", "deploy", "rollback", "destroy"]
)


@each_command
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
def test_plugins_of_others_in_the_state_are_not_run(
    account: FakeAccount, command: str, package: str, inputs: dict[str, Any]
) -> None:
    urn = f"urn:pulumi:dev::gatehouse::pulumi:providers:{package}::default"
    account.resources = [{"urn": urn, "inputs": inputs}]
    error = account.refusal(command)
    assert f"the state of the stack dev configures the plugin {package} " in error


@each_command
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
def test_resources_of_other_stacks_in_the_state_are_rejected(
    account: FakeAccount, command: str, start: str
) -> None:
    account.resources = [{"urn": f"{start}::pulumi:providers:pulumi-python::default"}]
    error = account.refusal(command)
    assert "the state of the stack dev has a resource of another stack" in error


@each_command
@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("cloud", {"url": f"{KMS}&endpoint=https://acme.dev"}),
        ("cloud", {"url": KMS, "Url": "awskms://x"}),
        ("service", {"url": KMS}),
    ],
)
def test_key_of_others_in_the_state_is_not_used(
    account: FakeAccount, command: str, kind: str, key: dict[str, str]
) -> None:
    account.secrets = {"type": kind, "state": {**key, "encryptedkey": "x"}}
    error = account.refusal(command, stack_file=f"secretsprovider: {KMS}\n{own_stack_file()}")
    assert "the state of the stack dev names another key for secrets than Pulumi.dev.yaml" in error


@each_command
@pytest.mark.parametrize(
    ("row", "parts", "message"),
    [
        # The engine runs the provider of the package, such as code in `__provider`.
        ({"custom": True}, {}, "has a resource without a provider: "),
        ({"custom": True, "provider": f"{PROVIDER}::1"}, {}, "has a resource without a provider: "),
        ({"type": "pulumi:providers:x"}, {}, "is malformed"),
        ({"refreshBeforeUpdate": True}, {}, "reads a resource before an update: "),
        ({"outputs": {"a\n\\u001b": 1, "\x1b[2J": {}}}, {}, "has control characters"),
        ({"outputs": {"a": "\r"}}, {}, "has control characters"),
        ({"outputs": {"a<{%": 1}}, {}, "has control characters"),
        ({"id": "a\nb"}, {}, "is malformed"),
        ({}, {"snippets": []}, "has parts that the program does not have: snippets"),
    ],
)
def test_state_that_the_program_does_not_create_is_rejected(
    account: FakeAccount, command: str, row: dict[str, Any], parts: dict[str, Any], message: str
) -> None:
    urn = "urn:pulumi:dev::gatehouse::pulumi-python:dynamic:Resource::x"
    account.resources = [{"urn": PROVIDER, "id": "1"}, {"urn": urn, **row}]
    account.parts = parts
    assert f"the state of the stack dev {message}" in account.refusal(command)


def test_malformed_state_is_one_message(account: FakeAccount) -> None:
    account.secrets = {"type": "cloud"}
    assert "the state of the stack dev is malformed" in account.refusal("destroy")
    account.secrets, account.unfinished = {}, [{"type": "creating"}]
    assert "cannot read the state of the stack dev" in account.refusal("destroy")
    account.locks = [{"username": "ada"}]
    assert "cannot read the state of the stack dev" in account.refusal("destroy")


def test_plugin_of_the_program_and_key_of_the_stack_are_accepted(account: FakeAccount) -> None:
    account.secrets = {"type": "cloud", "state": {"url": KMS, "encryptedkey": "x"}}
    (provider,) = (row for row in run("dev").resources if row.type == AWS_PROVIDER)
    inputs = {"__internal": {}, "version": "7.51.0", **provider.inputs}
    resource = {"urn": URN, "custom": True, "provider": f"{PROVIDER}::1"}
    account.resources = [{"urn": PROVIDER, "id": "1", "inputs": inputs}, resource]
    stack_file = f"secretsprovider: {KMS}\n{own_stack_file()}"
    assert account.release("preview", stack_file=stack_file).returncode == 0


def test_engine_uses_uv_lock_unchanged() -> None:
    variables = environment()
    assert variables["UV_LOCKED"] == "1"
    assert variables["PATH"].endswith(str(ROOT / ".gatehouse" / "tools" / "bin"))


ZONE_KEY = "preview: existing_resources.zone_id:"
OWN_ZONE, DOMAIN = "Gatehouse dev", "dev.gatehouse.acme.dev"


@pytest.fixture(scope="module")
def running() -> Iterator[Emulator]:
    with Emulator.start() as started:
        yield started


@pytest.fixture
def emulator(running: Emulator) -> Emulator:
    route53 = running.client("route53", "eu-west-1")
    for zone in route53.list_hosted_zones()["HostedZones"]:
        route53.delete_hosted_zone(Id=zone["Id"])
    return running


def preview(account: FakeAccount, emulator: Emulator, zone_id: str = "") -> str:
    """The error output in the account of the emulator. zone_id: setting of the stack file."""
    text = own_stack_file().replace(ACCOUNT, EMULATED_ACCOUNT)
    existing = f"    existing_resources:\n      zone_id: {zone_id}\n" if zone_id else ""
    account.emulator = emulator
    lines = account.release("preview", stack_file=text + existing).stderr.splitlines()
    return "\n".join(line for line in lines if "example values" not in line)


def create_zone(emulator: Emulator, name: str, comment: str = "", *, private: bool = False) -> str:
    config = {"Comment": comment, "PrivateZone": private}
    vpc = {"VPC": {"VPCRegion": "eu-west-1", "VPCId": "vpc-1"}} if private else {}
    route53 = emulator.client("route53", "eu-west-1")
    zone = route53.create_hosted_zone(
        Name=name, CallerReference=f"{name}{comment}", HostedZoneConfig=config, **vpc
    )
    return str(zone["HostedZone"]["Id"].rpartition("/")[2])


def test_second_zone_of_a_domain_is_reported(account: FakeAccount, emulator: Emulator) -> None:
    zone = create_zone(emulator, DOMAIN)
    errors = preview(account, emulator)
    assert (
        f"the account has the hosted zone {zone} for {DOMAIN} already. Set "
        f"existing_resources.zone_id: {zone}"
    ) in errors


def test_other_zones_are_accepted(account: FakeAccount, emulator: Emulator) -> None:
    create_zone(emulator, DOMAIN, OWN_ZONE)
    create_zone(emulator, DOMAIN, private=True)
    create_zone(emulator, "other.example.org")
    create_zone(emulator, f"x.{DOMAIN}")
    assert preview(account, emulator) == ""


@pytest.mark.parametrize(
    ("name", "private", "message"),
    [
        (DOMAIN, False, ""),
        ("acme.dev", False, ""),
        (
            "me.dev",
            False,
            f"preview: existing_resources.zone_id: the hosted zone is me.dev, which does not "
            f"contain the domain {DOMAIN}",
        ),
        (
            "acme.dev",
            True,
            f"{ZONE_KEY} the hosted zone acme.dev is private; a public zone is required",
        ),
    ],
)
def test_existing_zone_must_contain_the_domain(
    account: FakeAccount, emulator: Emulator, name: str, private: bool, message: str
) -> None:
    assert preview(account, emulator, create_zone(emulator, name, private=private)) == message


def test_missing_zone_is_reported(account: FakeAccount, emulator: Emulator) -> None:
    errors = preview(account, emulator, "Z0000000000000")
    assert errors.startswith(
        f"preview: the hosted zone Z0000000000000 does not exist in account {EMULATED_ACCOUNT}."
    )
