"""Rules for Amazon EKS clusters and node groups."""

import re

from pulumi_local.type_tokens import aws

from gatehouse_policies.analysis.network_reachability import is_internet
from gatehouse_policies.analysis.properties import MalformedError
from gatehouse_policies.analysis.resources import Resource
from gatehouse_policies.engine.requirements import contains, is_set
from gatehouse_policies.engine.rule import CheckResults, resource_rule

# Extended support of 1.30 ended in July 2026. Later versions are accepted.
# https://docs.aws.amazon.com/eks/latest/userguide/kubernetes-versions.html#kubernetes-release-calendar
_OLDEST_SUPPORTED = (1, 31)
_VERSION = re.compile(r"(\d+)\.(\d+)")
_LOG_TYPES = ("api", "audit", "authenticator", "controllerManager", "scheduler")


@resource_rule("GH-EKS-001", types=aws("eks.Cluster"))
def endpoint_is_private(cluster: Resource) -> CheckResults:
    config = cluster.props.block("vpcConfig")
    if not config.flag("endpointPublicAccess", True):
        return
    cidrs = config.texts("publicAccessCidrs") or ["0.0.0.0/0"]
    if is_internet(*cidrs):
        yield "the API server accepts requests from the internet"


control_plane_logs = resource_rule("GH-EKS-002", types=aws("eks.Cluster")).requires(
    contains("enabledClusterLogTypes", *_LOG_TYPES)
)


secrets_are_encrypted = resource_rule("GH-EKS-003", types=aws("eks.Cluster")).requires(
    contains("encryptionConfig.resources", "secrets"), is_set("encryptionConfig.provider.keyArn")
)


nodes_do_not_allow_ssh = resource_rule("GH-EKS-004", types=aws("eks.NodeGroup")).requires(
    is_set("remoteAccess.sourceSecurityGroupIds"),
    when=lambda group: group.props.block("remoteAccess").has("ec2SshKey"),
)


@resource_rule("GH-EKS-006", types=aws("eks.Cluster"))
def version_is_supported(cluster: Resource) -> CheckResults:
    if not cluster.props.has("version"):
        return
    version = _VERSION.fullmatch(cluster.props.text("version"))
    if version is None:
        raise MalformedError("version", "a Kubernetes version such as 1.34", "other text")
    if (int(version[1]), int(version[2])) < _OLDEST_SUPPORTED:
        yield f"version is {version[0]}, which AWS no longer supports"
