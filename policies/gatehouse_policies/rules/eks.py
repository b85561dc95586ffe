"""Rules for Amazon EKS clusters and node groups."""

import re

from gatehouse_policies.analysis.network_reachability import is_internet
from gatehouse_policies.analysis.properties import MalformedError
from gatehouse_policies.analysis.resources import Resource
from gatehouse_policies.analysis.type_tokens import aws
from gatehouse_policies.engine.requirements import contains, is_set, is_true
from gatehouse_policies.engine.rule import CheckResults, resource_rule

_GUIDE = "https://docs.aws.amazon.com/eks/latest/userguide"
# Extended support of 1.30 ended in July 2026. Later versions are accepted.
# https://docs.aws.amazon.com/eks/latest/userguide/kubernetes-versions.html#kubernetes-release-calendar
_OLDEST_SUPPORTED = (1, 31)
_VERSION = re.compile(r"(\d+)\.(\d+)")
_LOG_TYPES = ("api", "audit", "authenticator", "controllerManager", "scheduler")


@resource_rule(
    "GH-EKS-001",
    title="EKS clusters do not allow the internet to reach the Kubernetes API server",
    remedy=(
        "set vpcConfig.endpointPublicAccess=False and endpointPrivateAccess=True, or limit "
        "publicAccessCidrs"
    ),
    severity="high",
    types=aws("eks.Cluster"),
    upstream="EKS.1 CKV_AWS_38 CKV_AWS_39 EKS1",
    url=f"{_GUIDE}/cluster-endpoint.html",
)
def endpoint_is_private(cluster: Resource) -> CheckResults:
    config = cluster.props.block("vpcConfig")
    if not config.flag("endpointPublicAccess", True):
        return
    cidrs = config.texts("publicAccessCidrs") or ["0.0.0.0/0"]
    if is_internet(*cidrs):
        yield "the API server accepts requests from the internet"


control_plane_logs = resource_rule(
    "GH-EKS-002",
    title="EKS clusters have control plane logging enabled",
    types=aws("eks.Cluster"),
    upstream="EKS.8 CKV_AWS_37 EKS2",
    url=f"{_GUIDE}/control-plane-logs.html",
).requires(contains("enabledClusterLogTypes", *_LOG_TYPES))


secrets_are_encrypted = resource_rule(
    "GH-EKS-003",
    title="EKS clusters encrypt Kubernetes secrets with a customer managed key",
    types=aws("eks.Cluster"),
    upstream="EKS.3 CKV_AWS_58",
    url=f"{_GUIDE}/enable-kms.html",
).requires(
    contains("encryptionConfig.resources", "secrets"), is_set("encryptionConfig.provider.keyArn")
)


nodes_do_not_allow_ssh = resource_rule(
    "GH-EKS-004",
    title="EKS node groups do not allow SSH from the internet",
    remedy=(
        "remove remoteAccess and use Session Manager, or set remoteAccess.sourceSecurityGroupIds"
    ),
    severity="high",
    types=aws("eks.NodeGroup"),
    upstream="CKV_AWS_100",
    url="https://docs.aws.amazon.com/eks/latest/APIReference/API_RemoteAccessConfig.html",
).requires(
    is_set("remoteAccess.sourceSecurityGroupIds"),
    when=lambda group: group.props.block("remoteAccess").has("ec2SshKey"),
)


deletion_protection_is_enabled = resource_rule(
    "GH-EKS-005",
    title="EKS clusters have deletion protection enabled",
    types=aws("eks.Cluster"),
    levels="-AM",
    pack="resilience",
    url=f"{_GUIDE}/deletion-protection.html",
).requires(is_true("deletionProtection"))


@resource_rule(
    "GH-EKS-006",
    title="EKS clusters run a supported Kubernetes version",
    remedy=(
        "set version to a Kubernetes version in standard support, and update one minor "
        "version at a time"
    ),
    types=aws("eks.Cluster"),
    upstream="EKS.2 CKV_AWS_339",
    url=f"{_GUIDE}/kubernetes-versions.html",
)
def version_is_supported(cluster: Resource) -> CheckResults:
    if not cluster.props.has("version"):
        return
    version = _VERSION.fullmatch(cluster.props.text("version"))
    if version is None:
        raise MalformedError("version", "a Kubernetes version such as 1.34", "other text")
    if (int(version[1]), int(version[2])) < _OLDEST_SUPPORTED:
        yield f"version is {version[0]}, which AWS no longer supports"
