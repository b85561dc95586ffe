"""Prerequisites that `make preview` and `make deploy` check before they run the Pulumi CLI."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from gatehouse_policies.program.types import ACCOUNT as EMULATED_ACCOUNT

from release import pulumi_cli
from release.pulumi_cli import environment
from sandbox.emulator.server import Emulator
from tests.release.fake_aws import (
    ACCOUNT,
    LOCK,
    ROOT,
    FakeAccount,
    own_stack_file,
    release,
)

KMS = "awskms://alias/gatehouse-pulumi-state?region=eu-west-1"
LOG_IN = (
    "Before the first deployment, run: make bootstrap ENV=dev. Otherwise run: pulumi login "
    f"'s3://gatehouse-pulumi-state-{ACCOUNT}-eu-west-1?region=eu-west-1'"
)


@pytest.mark.parametrize(
    ("backend", "steps"),
    [
        ("s3://acme-state", LOG_IN),
        ("https://app.pulumi.com/acme", "Run: pulumi stack init --stack dev"),
    ],
)
def test_missing_stack_is_reported(
    account: FakeAccount, tmp_path: Path, backend: str, steps: str
) -> None:
    account.stacks, account.backend = ("prod",), backend
    result = release(account, tmp_path, "preview")
    assert (result.returncode, account.steps) == (2, [])
    assert result.stderr == f"preview: the stack dev does not exist in {backend}. {steps}\n"


def test_backend_that_does_not_respond_is_reported(
    account: FakeAccount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CLI waits as long as S3 does not close the connection, such as when a region is lost."""
    monkeypatch.setattr(pulumi_cli, "QUERY_TIMEOUT_S", 0)
    result = release(account, tmp_path, "preview")
    assert (result.returncode, account.steps) == (2, [])
    assert f"(the backend did not respond within 0 s). {LOG_IN}, or" in result.stderr


def test_unreadable_stack_is_reported(account: FakeAccount, tmp_path: Path) -> None:
    account.stacks, account.no_stack = (
        (),
        "warning: x\nerror: could not read the bucket: AccessDenied\n",
    )
    result = release(account, tmp_path, "preview")
    assert (result.returncode, account.steps) == (2, [])
    assert result.stderr == (
        "preview: the Pulumi CLI cannot read the stack dev: error: could not read the "
        "bucket: AccessDenied\n"
    )


@pytest.mark.parametrize("command", ["preview", "destroy"])
def test_expired_credentials_are_one_message(
    account: FakeAccount, tmp_path: Path, command: str
) -> None:
    """The Pulumi CLI can also not read the state."""
    account.rejection = "ExpiredToken"
    result = release(account, tmp_path, command)
    assert (result.returncode, account.steps) == (2, [])
    assert result.stderr == (
        f"{command}: AWS rejected the credentials (ExpiredToken). Run: aws sso login, or "
        f"set AWS_PROFILE\n"
    )


@pytest.mark.parametrize(
    ("header", "cause"),
    [
        ("", "Pulumi.dev.yaml contains neither secretsprovider nor encryptionsalt"),
        ("encryptionsalt: v1:x\n", "the secrets of the stack dev are encrypted with a passphrase"),
    ],
)
def test_missing_passphrase_is_reported(
    account: FakeAccount, tmp_path: Path, header: str, cause: str
) -> None:
    result = release(
        account, tmp_path, "preview", stack_file=header + own_stack_file(), has_passphrase=False
    )
    assert (result.returncode, account.steps) == (2, [])
    assert result.stderr == (
        f"preview: {cause}. To use the KMS key, run: pulumi stack change-secrets-provider '{KMS}' "
        "--stack dev. To use a passphrase, set PULUMI_CONFIG_PASSPHRASE or "
        "PULUMI_CONFIG_PASSPHRASE_FILE\n"
    )


@pytest.mark.parametrize(
    ("backend", "header"),
    [("s3://acme-state", f"secretsprovider: {KMS}\n"), ("https://app.pulumi.com/acme", "")],
)
def test_kms_key_or_pulumi_cloud_needs_no_passphrase(
    account: FakeAccount, tmp_path: Path, backend: str, header: str
) -> None:
    account.backend = backend
    result = release(
        account, tmp_path, "preview", stack_file=header + own_stack_file(), has_passphrase=False
    )
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
def test_example_values_are_rejected(
    account: FakeAccount, tmp_path: Path, text: str, keys: str
) -> None:
    result = release(account, tmp_path, "deploy", "--yes", stack_file=text)
    assert (result.returncode, account.steps) == (2, [])
    assert f"example values. Set your own values, or remove the keys: {keys}\n" in result.stderr


URN = "urn:pulumi:dev::gatehouse::aws:s3/bucket:Bucket::logs"
OPERATION = {"type": "creating", "resource": {"urn": URN}}


@pytest.mark.parametrize("command", ["rollback", "destroy"])
def test_lock_is_reported_with_its_owner(
    account: FakeAccount, tmp_path: Path, command: str
) -> None:
    account.locks, account.unfinished = [LOCK], [OPERATION]
    result = release(account, tmp_path, command)
    assert (result.returncode, account.steps) == (2, [])
    assert result.stderr == (
        f"{command}: the stack dev is locked by ada@laptop (process 4711) since "
        f"2026-01-02T03:04:05. Wait until that update has "
        "ended. If its process no longer exists, run: pulumi cancel --stack dev\n"
    )


def test_stopped_operations_are_reported(account: FakeAccount, tmp_path: Path) -> None:
    account.unfinished = [OPERATION]
    result = release(account, tmp_path, "deploy")
    assert (result.returncode, account.steps) == (2, [])
    assert (
        "was stopped during these operations: creating logs. Run: pulumi cancel --stack dev; "
        "pulumi refresh"
    ) in result.stderr


def test_preview_takes_no_lock(account: FakeAccount, tmp_path: Path) -> None:
    account.locks, account.unfinished = [LOCK], [OPERATION]
    result = release(account, tmp_path, "preview")
    assert (result.returncode, account.steps) == (0, ["preview"])


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
    """The emulator without hosted zones."""
    route53 = running.client("route53", "eu-west-1")
    for zone in route53.list_hosted_zones()["HostedZones"]:
        route53.delete_hosted_zone(Id=zone["Id"])
    return running


def preview(account: FakeAccount, emulator: Emulator, folder: Path, zone_id: str = "") -> str:
    """The error output of a preview in the account of the emulator. zone_id: setting of the stack
    file.
    """
    text = own_stack_file().replace(ACCOUNT, EMULATED_ACCOUNT)
    existing = f"    existing_resources:\n      zone_id: {zone_id}\n" if zone_id else ""
    lines = release(
        account, folder, "preview", stack_file=text + existing, emulator=emulator
    ).stderr.splitlines()
    return "\n".join(line for line in lines if "example values" not in line)


def create_zone(emulator: Emulator, name: str, comment: str = "", *, private: bool = False) -> str:
    config = {"Comment": comment, "PrivateZone": private}
    vpc = {"VPC": {"VPCRegion": "eu-west-1", "VPCId": "vpc-1"}} if private else {}
    route53 = emulator.client("route53", "eu-west-1")
    zone = route53.create_hosted_zone(
        Name=name, CallerReference=f"{name}{comment}", HostedZoneConfig=config, **vpc
    )
    return str(zone["HostedZone"]["Id"].rpartition("/")[2])


def test_second_zone_of_a_domain_is_reported(
    account: FakeAccount, emulator: Emulator, tmp_path: Path
) -> None:
    zone = create_zone(emulator, DOMAIN)
    errors = preview(account, emulator, tmp_path)
    assert (
        f"the account has the hosted zone {zone} for {DOMAIN} already. Set "
        f"existing_resources.zone_id: {zone}"
    ) in errors


def test_other_zones_are_accepted(account: FakeAccount, emulator: Emulator, tmp_path: Path) -> None:
    create_zone(emulator, DOMAIN, OWN_ZONE)
    create_zone(emulator, DOMAIN, private=True)
    create_zone(emulator, "other.example.org")
    create_zone(emulator, f"x.{DOMAIN}")
    assert preview(account, emulator, tmp_path) == ""


@pytest.mark.parametrize(
    ("name", "private", "message"),
    [
        (DOMAIN, False, ""),
        ("acme.dev", False, ""),
        (
            "me.dev",
            False,
            (
                f"preview: existing_resources.zone_id: the hosted zone is me.dev, which does not "
                f"contain the domain {DOMAIN}"
            ),
        ),
        (
            "acme.dev",
            True,
            f"{ZONE_KEY} the hosted zone acme.dev is private; a public zone is required",
        ),
    ],
)
def test_existing_zone_must_contain_the_domain(
    account: FakeAccount, emulator: Emulator, tmp_path: Path, name: str, private: bool, message: str
) -> None:
    assert (
        preview(account, emulator, tmp_path, create_zone(emulator, name, private=private))
        == message
    )


def test_missing_zone_is_reported(account: FakeAccount, emulator: Emulator, tmp_path: Path) -> None:
    errors = preview(account, emulator, tmp_path, "Z0000000000000")
    assert errors.startswith(
        f"preview: the hosted zone Z0000000000000 does not exist in account {EMULATED_ACCOUNT}."
    )
