"""Rules for EC2 instances, launch templates, EBS volumes and machine images."""

import base64
import binascii
import re
import zlib
from collections.abc import Iterator

from pulumi_local.lists import name_set
from pulumi_local.type_tokens import aws

from gatehouse_policies.analysis.properties import Properties
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.analysis.secret_detection import arguments_look_secret, looks_secret
from gatehouse_policies.engine.requirements import (
    is_exactly,
    is_not_set,
    is_not_true,
    satisfies,
    where,
)
from gatehouse_policies.engine.rule import (
    CheckResults,
    Requirement,
    Violation,
    resource_rule,
    stack_rule,
)

_INSTANCES = aws("ec2.Instance", "ec2.SpotInstanceRequest")
_LAUNCHERS = _INSTANCES + aws("ec2.LaunchTemplate", "ec2.LaunchConfiguration")
_COPIES = aws("ebs.Volume", "ebs.SnapshotCopy", "ec2.AmiCopy")
_FLEETS = aws("ec2.SpotFleetRequest")
_GROUPS = aws("autoscaling.Group")
# Properties that decide on the subnet or the address of an instance.
_SETS_ADDRESS = name_set(
    "associatePublicIpAddress networkInterfaceId networkInterfaces primaryNetworkInterface "
    "subnetId vpcZoneIdentifiers"
)
_USER_DATA_BYTES_MAX = 1 << 20


def _sets(prop: str, requirement: Requirement) -> Requirement:
    """A requirement on a launcher, unless its launch template in the program, for which the rule is
    evaluated as well, sets the property instead.
    """

    def check(launcher: Resource, stack: Stack) -> CheckResults:
        inherited = any(template.props.has(prop) for template in _templates(launcher, stack))
        if launcher.props.has(prop) or not inherited:
            yield from requirement.check(launcher, stack)

    return Requirement(check, requirement.remedy)


def _templates(launcher: Resource, stack: Stack) -> list[Resource]:
    """The launch templates of the program that a launcher uses, for which rules are evaluated."""
    prop = "launchTemplate" if launcher.props.has("launchTemplate") else "launchTemplateConfigs"
    templates = stack.referenced_by(launcher, prop, aws("ec2.LaunchTemplate"))
    return [template for template in templates if template.managed]


metadata_requires_tokens = stack_rule("GH-EC2-001", types=_LAUNCHERS).requires(
    _sets("metadataOptions", is_exactly("metadataOptions.httpTokens", "required")),
    when=lambda launcher: (
        launcher.props.block("metadataOptions").text("httpEndpoint", "enabled") == "enabled"
    ),
)


@stack_rule("GH-EC2-003", types=(*_LAUNCHERS, *_FLEETS, *_COPIES, *aws("ec2.Ami")))
def volumes_are_encrypted(holder: Resource, stack: Stack) -> CheckResults:
    by_default = any(
        each.region() == holder.region() and each.props.flag("enabled", True)
        for each in stack.of_type(aws("ebs.EncryptionByDefault"))
    )
    for device in _devices(holder, stack):
        # A volume that is created from a snapshot has the encryption of the snapshot.
        if not device.flag("encrypted", by_default) and not (
            device.path and device.has("snapshotId")
        ):
            yield f"{device.path_of('encrypted')} is not true"
    if holder.type in _COPIES and not holder.props.is_customer_key("kmsKeyId"):
        yield Violation("kmsKeyId is not set to a customer managed key", "set kmsKeyId")


def _devices(holder: Resource, stack: Stack) -> Iterator[Properties]:
    props = holder.props
    if holder.type in _COPIES:
        yield props
    elif holder.type in aws("ec2.LaunchTemplate"):
        # Without a mapping, the root volume is that of the image, unless the instance sets it.
        if not _maps_root(holder) and not stack.referencing(holder, _INSTANCES, "launchTemplate"):
            yield Properties({}, "blockDeviceMappings[/dev/xvda].ebs")
        for mapping in props.blocks("blockDeviceMappings"):
            if mapping.has("ebs"):
                yield mapping.block("ebs")
    else:
        for launch in _launches(holder):
            if holder.type not in aws("ec2.Ami") and not _inherits_root_device(holder, stack):
                root = "rootBlockDevices" if holder.type in _FLEETS else "rootBlockDevice"
                yield launch.block(root)
            yield from launch.blocks("ebsBlockDevices")


# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/device_naming.html
_DATA_DEVICE = re.compile("(/dev/)?(sd|xvd)[b-z]")


def _maps_root(template: Resource) -> bool:
    return any(
        mapping.has("ebs") and not _DATA_DEVICE.match(mapping.text("deviceName"))
        for mapping in template.props.blocks("blockDeviceMappings")
    )


def _inherits_root_device(instance: Resource, stack: Stack) -> bool:
    """True if a launch template in the program, which is evaluated, sets the root volume."""
    templates = _templates(instance, stack)
    return not instance.props.has("rootBlockDevice") and any(map(_maps_root, templates))


def _launches(holder: Resource) -> list[Properties]:
    fleet = holder.type in _FLEETS
    return holder.props.blocks("launchSpecifications") if fleet else [holder.props]


def _have_subnets(launcher: Resource, stack: Stack) -> CheckResults:
    props, templates = launcher.props, _templates(launcher, stack)
    launches = props.blocks("launchSpecifications")
    # A template that is not of the program can set the subnet.
    inherited = not templates or any(
        any(map(interface.has, _SETS_ADDRESS))
        for template in templates
        for interface in template.props.blocks("networkInterfaces")
    )
    for config in () if inherited else props.blocks("launchTemplateConfigs"):
        launches += config.blocks("overrides") or [config]
    if launcher.type in _GROUPS or (
        launcher.type in _INSTANCES and not (inherited and props.has("launchTemplate"))
    ):
        launches.append(props)
    name = "vpcZoneIdentifiers" if launcher.type in _GROUPS else "subnetId"
    for launch in launches:
        if not any(map(launch.has, _SETS_ADDRESS)):
            yield Violation(
                f"{launch.path_of(name)} is not set, so the default VPC assigns an address",
                f"set {launch.path_of(name)}",
            )


instance_has_no_public_address = stack_rule(
    "GH-EC2-004",
    types=_LAUNCHERS + _FLEETS + _GROUPS + aws("ec2.Fleet", "ec2.Eip", "ec2.EipAssociation"),
).requires(
    is_not_true("associatePublicIpAddress"),
    # networkInterfaces of an instance name existing interfaces and have no such property.
    is_not_true("networkInterfaces[].associatePublicIpAddress"),
    is_not_true("launchSpecifications[].associatePublicIpAddress"),
    Requirement(_have_subnets, "set subnetId, vpcZoneIdentifiers or overrides[].subnetId"),
    # The address of a NAT gateway or load balancer is set on the gateway or load balancer.
    *map(is_not_set, ("instance", "instanceId", "networkInterface", "networkInterfaceId")),
)


@resource_rule(
    "GH-EC2-005", types=_LAUNCHERS + _FLEETS + aws("imagebuilder.ImageRecipe", "lightsail.Instance")
)
def user_data_has_no_secrets(launcher: Resource) -> CheckResults:
    for launch in _launches(launcher):
        for prop in ("userData", "userDataBase64"):
            lines = _decoded(launch.text(prop)).splitlines()
            if any(map(_assigns_secret, lines)):
                yield f"{launch.path_of(prop)} probably contains a secret"


_ASSIGNMENT = re.compile(r"""(?:export )?["']?(\w+)["']?(?:\s*=|:\s)\s*(["']?)(.*)""")
# In PowerShell, PHP and SQL, only a text in quotation marks is a value.
_QUOTED = re.compile(
    r"""(?:\$(?:env:)?(\w+)\s*=\s*(?:ConvertTo-SecureString\s+)?|define\(\s*["'](\w+)["']\s*,\s*"""
    r"""|(?:identified by|user \S+ password)\s+)["']([^"'$`]+)["']""",
    re.IGNORECASE,
)


def _decoded(text: str) -> str:
    """The user data, which launch templates and userDataBase64 contain in base64, with or without
    line breaks, and which cloud-init decompresses.

    https://cloudinit.readthedocs.io/en/latest/explanation/format/gzip.html
    """
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
        if data.startswith(b"\x1f\x8b"):
            data = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data, _USER_DATA_BYTES_MAX)
        return data.decode()
    except (binascii.Error, UnicodeDecodeError, zlib.error):
        return text


def _assigns_secret(line: str) -> bool:
    """True for a line such as `export DB_PASSWORD=...`, `password: ...` or `curl --token=...`."""
    match = _ASSIGNMENT.fullmatch(line.strip(" \t-{"))
    assigns = match and looks_secret(match[1], match[3].partition(match[2] or "\0")[0])
    quoted = (
        looks_secret(variable or constant or "password", value)
        for variable, constant, value in _QUOTED.findall(line)
    )
    # With a space, the line is no option.
    return bool(assigns) or any(quoted) or arguments_look_secret([f" {line}", *line.split()])


@resource_rule(
    "GH-EC2-008", types=aws("ec2.AmiLaunchPermission", "imagebuilder.DistributionConfiguration")
)
def image_is_not_public(permission: Resource) -> CheckResults:
    if permission.props.text("group") == "all":
        yield "the image is public"
    for distribution in permission.props.blocks("distributions"):
        launch = distribution.block("amiDistributionConfiguration").block("launchPermission")
        if "all" in launch.texts("userGroups"):
            yield "the image is public"


# https://docs.aws.amazon.com/securityhub/latest/userguide/autoscaling-controls.html
group_survives_failures = resource_rule("GH-EC2-009", types=_GROUPS).requires(
    is_not_set("launchConfiguration"),
    satisfies(
        "vpcZoneIdentifiers",
        lambda group, subnets: group.size(subnets) > 1 or group.size("availabilityZones") > 1,
        "has no subnets in two Availability Zones",
        "set vpcZoneIdentifiers to subnets in two Availability Zones",
    ),
    where(
        lambda group: bool(group.props.size("targetGroupArns") + group.props.size("loadBalancers")),
        is_exactly("healthCheckType", "ELB"),
    ),
)
