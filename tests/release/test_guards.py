"""Release commands for the project `account`, and `make guards`, with a moto server that has some
guards already.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.stub import Stubber
from gatehouse_policies.program.types import ACCOUNT as EMULATED_ACCOUNT

from release.__main__ import ACCOUNT_COMMANDS
from release.guards import Guard, affected_vpcs, read_guards
from release.pulumi_cli import command_line
from release.stack_file import ACCOUNT, Stack
from sandbox.emulator.server import Emulator
from sandbox.emulator.sessions import session
from tests.components.settings.stack_settings import raw_account_settings
from tests.release.fake_aws import ACCOUNT as OWN_ACCOUNT
from tests.release.fake_aws import FakeAccount, release, serving

pytestmark = pytest.mark.requirement("CG-21", "TR-17")
REGION = "eu-west-1"
OTHER_DETECTOR = "0" * 32
ONLY_ONE = ", and AWS allows only one. Set guards."


@pytest.fixture
def account() -> Iterator[FakeAccount]:
    fake = FakeAccount(stacks=("main",))
    with serving(fake):
        yield fake


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator.start() as running:
        yield running


@pytest.fixture(scope="module")
def detector(emulator: Emulator) -> str:
    """The ID of a GuardDuty detector of the account, which has a recorder of AWS Config and
    Security Hub, too.
    """
    config = emulator.client("config", REGION)
    role = f"arn:aws:iam::{EMULATED_ACCOUNT}:role/recorder"
    config.put_configuration_recorder(ConfigurationRecorder={"name": "default", "roleARN": role})
    emulator.client("securityhub", REGION).enable_security_hub()
    return str(emulator.client("guardduty", REGION).create_detector(Enable=True)["DetectorId"])


def run(
    fake: FakeAccount, emulator: Emulator | None, folder: Path, *words: str, **changes: Any
) -> Any:
    """Run a command for the stack main with changed settings. emulator: AWS, by default the fake
    account.
    """
    settings = raw_account_settings(
        "none", {key.replace("__", "."): value for key, value in changes.items()}
    )
    (folder / "account").mkdir()
    file = folder / "account" / "Pulumi.main.yaml"
    file.write_text(yaml.safe_dump({"config": {"gatehouse-account:settings": settings}}))
    return release(fake, folder, *words, emulator=emulator, stack="main")


def problems(account: FakeAccount, emulator: Emulator, folder: Path, **changes: Any) -> list[str]:
    """The messages of a preview, without the message about the account, which is the example
    account.
    """
    lines = run(
        account, emulator, folder, "preview", "--project", "account", **changes
    ).stderr.splitlines()
    return [line.removeprefix("preview: ") for line in lines if "example values" not in line]


@pytest.mark.usefixtures("detector")
def test_guards_that_exist_are_listed_with_their_settings(
    account: FakeAccount, emulator: Emulator, detector: str, tmp_path: Path
) -> None:
    account.guards = ("ebs_encryption",)
    result = run(account, emulator, tmp_path, "guards")
    assert result.returncode == 0, result.stderr
    rows = {
        line.split()[0]: " ".join(line.split()[1:])
        for line in result.stdout.splitlines()
        if "_" in line.split(" ")[0]
    }
    assert (
        rows["config_recorder"]
        == "the recorder default guards.config_recorder: adopt, existing.recorder_name: default"
    )
    assert rows["security_hub"] == "Security Hub guards.security_hub: adopt"
    assert rows["password_policy"] == "not set guards.password_policy: create"
    assert rows["ebs_encryption"] == "not set managed by this stack"
    # Botocore cannot address S3 Control at an IP address.
    assert rows["s3_public_access_block"].startswith("cannot be read (")
    assert f"guards.guardduty: adopt, existing.detector_id: {detector}" in result.stdout


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"guards__guardduty": "create"},
            f"the account has the detector {{id}} already{ONLY_ONE}guardduty: adopt, ",
        ),
        (
            {"guards__security_hub": "create"},
            f"the account has Security Hub already{ONLY_ONE}security_hub: adopt in ",
        ),
        (
            {"guards__password_policy": "adopt"},
            "the account has no password_policy to adopt. Set guards.password_policy: ",
        ),
        (
            {"guards__guardduty": "adopt", "existing": {"detector_id": OTHER_DETECTOR}},
            (
                f"existing.detector_id is {OTHER_DETECTOR}, but the account has the detector "
                f"{{id}}. Set guards.guardduty: adopt, "
            ),
        ),
    ],
)
def test_settings_with_which_the_deployment_would_fail_are_reported(
    account: FakeAccount,
    emulator: Emulator,
    detector: str,
    tmp_path: Path,
    changes: dict[str, Any],
    message: str,
) -> None:
    (problem,) = problems(account, emulator, tmp_path, **changes)
    assert problem.startswith(message.format(id=detector))
    assert problem.endswith("account/Pulumi.main.yaml")


def test_deployed_and_adopted_guards_are_accepted(
    account: FakeAccount, emulator: Emulator, detector: str, tmp_path: Path
) -> None:
    account.guards = ("security_hub",)
    changes = {
        "guards__guardduty": "adopt",
        "existing": {"detector_id": detector},
        "guards__security_hub": "create",
    }
    assert problems(account, emulator, tmp_path, **changes) == []


def test_role_of_aws_config_is_required_and_created(
    account: FakeAccount, emulator: Emulator, tmp_path: Path
) -> None:
    changes = {
        "guards__config_recorder": "adopt",
        "existing": {"recorder_name": "default", "delivery_channel_name": "default"},
    }
    (tmp_path / "1").mkdir()
    missing = (
        "the account has no service-linked role of AWS Config. Run: make bootstrap "
        "PROJECT=account ENV=main"
    )
    assert missing in problems(account, emulator, tmp_path / "1", **changes)
    (tmp_path / "2").mkdir()
    result = run(account, emulator, tmp_path / "2", "bootstrap", "--project", "account", **changes)
    assert result.returncode == 0, result.stderr
    assert "created the service-linked role of AWS Config" in result.stdout
    assert "service-linked role of ECS" not in result.stdout
    assert "make deploy PROJECT=account ENV=main" in result.stdout
    (tmp_path / "3").mkdir()
    assert missing not in problems(account, emulator, tmp_path / "3", **changes)


def test_bootstrap_uses_the_state_bucket_of_the_setting(
    account: FakeAccount, emulator: Emulator, tmp_path: Path
) -> None:
    result = run(
        account,
        emulator,
        tmp_path,
        "bootstrap",
        "--project",
        "account",
        state_bucket="acme-state-of-account",
    )
    assert result.returncode == 0, result.stderr
    assert account.steps == ["login s3://acme-state-of-account?region=eu-west-1"]
    assert "service-linked role" not in result.stdout


@pytest.mark.parametrize(("words", "steps"), [(("--yes",), ["preview", "up"]), ((), ["preview"])])
def test_deployment_executes_the_confirmed_plan(
    account: FakeAccount, tmp_path: Path, words: tuple[str, ...], steps: list[str]
) -> None:
    result = run(
        account, None, tmp_path, "deploy", "--project", "account", *words, account=OWN_ACCOUNT
    )
    assert (result.returncode, account.steps) == (0 if words else 1, steps), result.stderr


def test_packs_are_in_the_root_of_the_repository() -> None:
    words = command_line("deploy", Stack("main", "", "", "", project=ACCOUNT))
    assert [word for word in words if word.startswith("../policies/")] == [
        "../policies/security",
        "../policies/resilience",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("image", "--project", "account"),
            f"PROJECT=account has no services; use one of: {', '.join(ACCOUNT_COMMANDS)}",
        ),
        (
            ("preview", "--project", "shop"),
            "no project 'shop'; use PROJECT=account, or no PROJECT for the stacks of Gatehouse",
        ),
    ],
)
def test_wrong_project_is_rejected(
    account: FakeAccount, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    result = run(account, None, tmp_path, *words)
    assert (result.returncode, result.stderr) == (2, f"{words[0]}: {message}\n")


@pytest.mark.parametrize("command", ["bootstrap", "guards", "preview", "deploy", "destroy"])
def test_invalid_settings_are_reported(account: FakeAccount, tmp_path: Path, command: str) -> None:
    result = run(account, None, tmp_path, command, "--project", "account", guards="create")
    assert (result.returncode, account.steps) == (2, [])
    assert "guards is 'create'; allowed: a mapping with access_analyzer" in result.stderr


def stubbed(responses: dict[str, dict[str, dict[str, Any]]]) -> Callable[[str], Any]:
    """Clients that return these responses, keyed by service and operation."""
    aws = session("x", "x", region=REGION)

    def client(service: str) -> Any:
        created = aws.client(service)
        stubber = Stubber(created)
        for operation, response in responses.get(service, {}).items():
            stubber.add_response(operation, response)
        stubber.activate()
        return created

    return client


def test_settings_that_every_account_has_are_read() -> None:
    """The operations that moto does not have."""
    block = {"BlockPublicAcls": True, "IgnorePublicAcls": False}
    client = stubbed(
        {
            "s3control": {"get_public_access_block": {"PublicAccessBlockConfiguration": block}},
            "backup": {
                "describe_region_settings": {
                    "ResourceTypeOptInPreference": {"RDS": True, "S3": False}
                }
            },
            "accessanalyzer": {"list_analyzers": {"analyzers": [ANALYZER]}},
        }
    )
    guards = {guard.name: guard for guard in read_guards(EMULATED_ACCOUNT, client)}
    assert guards["s3_public_access_block"].state == "set without IgnorePublicAcls"
    assert guards["backup_opt_in"].state == "enabled for RDS"
    assert (
        guards["access_analyzer"].adoption
        == "guards.access_analyzer: adopt, existing.analyzer_name: ConsoleAnalyzer-1"
    )
    assert guards["guardduty"].error  # The stub has no response.


ANALYZER = {
    "arn": f"arn:aws:access-analyzer:{REGION}:{EMULATED_ACCOUNT}:analyzer/ConsoleAnalyzer-1",
    **{
        "name": "ConsoleAnalyzer-1",
        "type": "ACCOUNT",
        "createdAt": "2026-01-01T00:00:00Z",
        "status": "ACTIVE",
    },
}


@pytest.mark.parametrize(
    ("tokens", "state"), [("required", "HttpTokens is required"), ("no-preference", "")]
)
def test_default_of_imdsv2_is_read(tokens: str, state: str) -> None:
    client = stubbed(
        {"ec2": {"get_instance_metadata_defaults": {"AccountLevel": {"HttpTokens": tokens}}}}
    )
    (guard,) = (guard for guard in read_guards(EMULATED_ACCOUNT, client) if guard.name == "imdsv2")
    assert guard == Guard("imdsv2", state)


def test_vpcs_without_exclusion_are_affected() -> None:
    gateways = [{"Attachments": [{"VpcId": f"vpc-{number}"}]} for number in (1, 2, 3, 4)]
    arns = {
        "vpc/vpc-2": "create-complete",
        "subnet/subnet-3": "create-complete",
        "vpc/vpc-4": "delete-complete",
    }
    exclusions = [
        {"ResourceArn": f"arn:aws:ec2:{REGION}:1:{name}", "State": state}
        for name, state in arns.items()
    ]
    client = stubbed(
        {
            "ec2": {
                "describe_internet_gateways": {"InternetGateways": gateways},
                "describe_vpc_block_public_access_exclusions": {
                    "VpcBlockPublicAccessExclusions": exclusions
                },
                "describe_subnets": {"Subnets": [{"SubnetId": "subnet-3", "VpcId": "vpc-3"}]},
            }
        }
    )
    assert affected_vpcs(client) == ["vpc-1", "vpc-4"]
