"""Reads which guards an AWS account has, and the settings with which a stack of the project
`account` creates or adopts them.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from components.settings.account import ADOPT, CREATE, IDS, NONE, GuardsSettings
from release.stack_file import Stack

CONFIG = "config.amazonaws.com"
"""Service whose service-linked role `guards.config_recorder` uses."""
Client = Callable[[str], Any]
"""Returns the boto3 client of a service in the account and region of the stack."""
_UNAVAILABLE = (BotoCoreError, ResponseParserError)


@dataclass(frozen=True, slots=True)
class Guard:
    """A guard as the account has it.

    name: key in `guards`.
    state: state in words, or "" if the account does not have the guard.
    existing: keys of `existing` and their values, which adopt the guard.
    unique: True if AWS rejects a second one, or the creation of one that exists.
    error: reason why the guard cannot be read, or "".
    """

    name: str
    state: str = ""
    existing: Mapping[str, str] = field(default_factory=dict)
    unique: bool = False
    error: str = ""

    @property
    def adoption(self) -> str:
        """The settings that adopt the guard."""
        ids = [f"existing.{key}: {value}" for key, value in self.existing.items()]
        return ", ".join([f"guards.{self.name}: {ADOPT}", *ids])


def read_guards(account: str, client: Client) -> list[Guard]:
    """The guards of the account, in the order of the settings. A guard that cannot be read has an
    error.
    """
    return [_read(name, account, client) for name in GuardsSettings.model_fields]


def report(stack: Stack, guards: list[Guard], managed: Collection[str]) -> Iterator[str]:
    """One line for each guard: its state, and the settings for it. managed: guards that the stack
    manages.
    """
    yield (
        f"Guards of account {stack.account} in {stack.region}, and settings for them in "
        f"{stack.file}:"
    )
    yield ""
    for guard in guards:
        yield f"{guard.name:<24}{guard.state or guard.error or 'not set':<44}{_advice(guard, managed)}".rstrip()  # noqa: E501
    yield ""
    yield (
        "A guard that is set and that is managed elsewhere can stay `none` (docs/guides/deploy.md)."
    )


def report_vpcs(client: Client) -> Iterator[str]:
    """A line about the VPCs that `guards.block_public_vpcs` would disconnect."""
    try:
        vpcs = affected_vpcs(client)
    except (ClientError, *_UNAVAILABLE) as exc:
        yield (
            f"The VPCs that guards.block_public_vpcs affects cannot be read ({type(exc).__name__})."
        )
    else:
        affected = (
            f"disconnects these VPCs from the internet: {', '.join(vpcs)}"
            if vpcs
            else "affects no VPC of the region"
        )
        yield f"guards.block_public_vpcs {affected}."


def affected_vpcs(client: Client) -> list[str]:
    """VPCs with an internet gateway and without an exclusion, which VPC Block Public Access
    disconnects. Raises ClientError and BotoCoreError."""
    ec2 = client("ec2")
    gateways = [
        row
        for page in ec2.get_paginator("describe_internet_gateways").paginate()
        for row in page["InternetGateways"]
    ]
    attached = {attachment["VpcId"] for row in gateways for attachment in row["Attachments"]}
    exclusions = ec2.describe_vpc_block_public_access_exclusions()["VpcBlockPublicAccessExclusions"]
    resources = {
        row["ResourceArn"].rpartition("/")[2]
        for row in exclusions
        if not row["State"].startswith("delete")
    }
    subnets = sorted(item for item in resources if item.startswith("subnet-"))
    rows = ec2.describe_subnets(SubnetIds=subnets)["Subnets"] if subnets else []
    return sorted(attached - resources - {row["VpcId"] for row in rows})


def conflicts(
    stack: Stack, guards: list[Guard], managed: Collection[str], client: Client
) -> Iterator[str]:
    """One message for each setting with which the deployment would fail."""
    modes, existing = stack.settings.get("guards") or {}, stack.settings.get("existing") or {}
    for guard in guards:
        mode = modes.get(guard.name, NONE)
        if guard.name in managed or guard.error or mode == NONE:
            continue
        if mode == CREATE and guard.unique and guard.state:
            yield (
                f"the account has {guard.state} already, and AWS allows only one. Set "
                f"{guard.adoption} in {stack.file}"
            )
        if mode == ADOPT and not guard.state:
            yield (
                f"the account has no {guard.name} to adopt. Set guards.{guard.name}: "
                f"{CREATE} in {stack.file}"
            )
        for key in IDS.get(guard.name, ()) if mode == ADOPT and guard.state else ():
            if existing.get(key) != guard.existing.get(key):
                problem = (
                    f"existing.{key} is {existing.get(key)}, but the account has {guard.state}"
                )
                yield f"{problem}. Set {guard.adoption} in {stack.file}"
                break
    if modes.get("config_recorder", NONE) != NONE and not _has_config_role(client):
        yield (
            f"the account has no service-linked role of AWS Config. Run: make bootstrap "
            f"{stack.target}"
        )


def _advice(guard: Guard, managed: Collection[str]) -> str:
    if guard.name in managed:
        return "managed by this stack"
    if guard.error:
        return ""
    return guard.adoption if guard.state else f"guards.{guard.name}: {CREATE}"


def _has_config_role(client: Client) -> bool:
    try:
        return bool(client("iam").list_roles(PathPrefix=f"/aws-service-role/{CONFIG}/")["Roles"])
    except (ClientError, *_UNAVAILABLE):
        return True  # AWS rejects the recorder if the role does not exist.


def _read(name: str, account: str, client: Client) -> Guard:
    try:
        return _READERS[name](account, client)
    except ClientError as exc:
        code = exc.response["Error"]["Code"]
        return Guard(name) if code in _ABSENT else Guard(name, error=f"cannot be read ({code})")
    except _UNAVAILABLE as exc:
        return Guard(name, error=f"cannot be read ({type(exc).__name__})")


_ABSENT = (
    *(
        "NoSuchPublicAccessBlockConfiguration",
        "NoSuchEntity",
        "InvalidAccessException",
        "ResourceNotFoundException",
    ),
    "SubscriptionRequiredException",
)
"""Error codes of AWS for guards that are not set."""


def _s3_public_access_block(account: str, client: Client) -> Guard:
    block = client("s3control").get_public_access_block(AccountId=account)[
        "PublicAccessBlockConfiguration"
    ]
    disabled = sorted(key for key, value in block.items() if not value)
    return Guard(
        "s3_public_access_block",
        f"set without {', '.join(disabled)}" if disabled else "all settings are on",
    )


def _ebs_encryption(_account: str, client: Client) -> Guard:
    enabled = client("ec2").get_ebs_encryption_by_default()["EbsEncryptionByDefault"]
    return Guard("ebs_encryption", "enabled" if enabled else "")


def _imdsv2(_account: str, client: Client) -> Guard:
    tokens = client("ec2").get_instance_metadata_defaults()["AccountLevel"].get("HttpTokens", "")
    return Guard("imdsv2", f"HttpTokens is {tokens}" if tokens not in ("", "no-preference") else "")


def _password_policy(_account: str, client: Client) -> Guard:
    policy = client("iam").get_account_password_policy()["PasswordPolicy"]
    return Guard("password_policy", f"set, minimum length {policy['MinimumPasswordLength']}")


def _backup_opt_in(_account: str, client: Client) -> Guard:
    preferences = client("backup").describe_region_settings()["ResourceTypeOptInPreference"]
    enabled = [name for name in ("RDS", "DynamoDB", "S3") if preferences.get(name)]
    return Guard("backup_opt_in", f"enabled for {', '.join(enabled)}" if enabled else "")


def _block_public_vpcs(_account: str, client: Client) -> Guard:
    options = client("ec2").describe_vpc_block_public_access_options()[
        "VpcBlockPublicAccessOptions"
    ]
    mode = options.get("InternetGatewayBlockMode", "off")
    return Guard("block_public_vpcs", f"mode {mode}" if mode != "off" else "")


def _access_analyzer(_account: str, client: Client) -> Guard:
    pages = client("accessanalyzer").get_paginator("list_analyzers").paginate(type="ACCOUNT")
    names = [row["name"] for page in pages for row in page["analyzers"]]
    if not names:
        return Guard("access_analyzer", unique=True)
    return Guard(
        "access_analyzer", f"the analyzer {names[0]}", {"analyzer_name": names[0]}, unique=True
    )


def _config_recorder(_account: str, client: Client) -> Guard:
    config = client("config")
    # AWS services can have recorders of their own, which do not count (AWS Config Developer Guide,
    # "Configuration recorder").
    recorders = [
        row
        for row in config.describe_configuration_recorders()["ConfigurationRecorders"]
        if not row.get("servicePrincipal")
    ]
    channels = config.describe_delivery_channels()["DeliveryChannels"]
    if not recorders:
        return Guard("config_recorder", unique=True)
    name = recorders[0]["name"]
    channel = {"delivery_channel_name": channels[0]["name"]} if channels else {}
    return Guard(
        "config_recorder", f"the recorder {name}", {"recorder_name": name, **channel}, unique=True
    )


def _guardduty(_account: str, client: Client) -> Guard:
    detectors = client("guardduty").list_detectors()["DetectorIds"]
    if not detectors:
        return Guard("guardduty", unique=True)
    return Guard(
        "guardduty", f"the detector {detectors[0]}", {"detector_id": detectors[0]}, unique=True
    )


def _security_hub(_account: str, client: Client) -> Guard:
    client("securityhub").describe_hub()
    return Guard("security_hub", "Security Hub", unique=True)


_READERS: dict[str, Callable[[str, Client], Guard]] = {
    "s3_public_access_block": _s3_public_access_block,
    "ebs_encryption": _ebs_encryption,
    "imdsv2": _imdsv2,
    "password_policy": _password_policy,
    "backup_opt_in": _backup_opt_in,
    "block_public_vpcs": _block_public_vpcs,
    "access_analyzer": _access_analyzer,
    "config_recorder": _config_recorder,
    "guardduty": _guardduty,
    "security_hub": _security_hub,
}
