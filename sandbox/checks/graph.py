"""Draws the components of a deployment, grouped by tier, and their connections as a Mermaid
flowchart.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gatehouse_policies.program.types import Deployment, Resource

TIERS: Mapping[str, tuple[str, ...]] = {
    "Edge": ("HostRecords", "WebAcl", "LoadBalancer", "Certificate", "SharingFunction"),
    "Application tier, private subnets": ("EcsService", "TaskDefinition", "VpcEndpoints"),
    "Data tier, isolated subnets": ("RdsInstance", "Valkey"),
    "Storage and secrets": (
        "SecretLinksTable",
        "Bucket",
        "Secret",
        "RotationFunction",
        "ContainerImage",
        "BackupPlan",
    ),
    "Encryption and identity": ("KmsKeys", "Roles", "PermissionsBoundary", "DeliveryRoles"),
    "Audit and monitoring": (
        *("CloudTrail", "Alarms", "LogAlarms", "EventAlarms", "Dashboard"),
        *("NotificationTopic", "SyntheticProbe", "DataProtection", "Budget"),
    ),
    "Network": ("Vpc", "SecurityGroups", "NetworkAcls", "ServiceDiscovery", "EcsCluster"),
}
"""Component types, keyed by tier title, from the internet inwards. Other types are in the tier
`_OTHER`.
"""

_OTHER = "Other"
_INTERNET = "internet"
# Type of a resource that connects two components, and the label of the connection.
_CONNECTING_TYPES = {
    "aws:wafv2/webAclAssociation:WebAclAssociation": "protects",
    "aws:secretsmanager/secretRotation:SecretRotation": "rotated by",
    "aws:s3/bucketLogging:BucketLogging": "logs to",
    "aws:cloudtrail/trail:Trail": "writes to",
    "aws:s3/bucketReplicationConfig:BucketReplicationConfig": "replicates to",
    "aws:backup/selection:Selection": "backs up",
}
_TASK = "aws:ecs/taskDefinition:TaskDefinition"
_INGRESS_RULE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
_SECURITY_GROUP = "aws:ec2/securityGroup:SecurityGroup"
_WITH_ADDRESSES = (
    "LoadBalancer",
    "EcsService",
    "RdsInstance",
    "Valkey",
    "VpcEndpoints",
)


@dataclass(frozen=True, slots=True)
class Node:
    """A component. key: unique name; title: type and name; size: number of resources."""

    key: str
    title: str
    tier: str
    size: int


@dataclass(frozen=True, slots=True, order=True)
class Edge:
    """A connection. traffic: whether the connection is network traffic that a security group
    allows. Otherwise, the connection is a relation between resources."""

    source: str
    target: str
    label: str
    traffic: bool


@dataclass(frozen=True, slots=True)
class Graph:
    """The components of a stack and their connections."""

    stack: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def tiers(self) -> list[tuple[str, list[Node]]]:
        """The tiers that have components, from the internet inwards."""
        rows = [
            (tier, [node for node in self.nodes if node.tier == tier]) for tier in (*TIERS, _OTHER)
        ]
        return [(tier, nodes) for tier, nodes in rows if nodes]


def graph(deployment: Deployment) -> Graph:
    """The graph of a deployment with known outputs. An ECS service includes its task definition."""
    resources = {resource.registration.urn: resource for resource in deployment.resources}
    owner = {urn: _owner(resource, resources) for urn, resource in resources.items()}
    sizes = Counter(
        owner[urn]
        for urn, resource in resources.items()
        if resource.registration.custom and owner[urn]
    )
    # Composites, which contain only components, are not drawn.
    components = (row for row in resources.values() if _is_component(row) and _key(row) in sizes)
    types = {_key(row): row.registration.type.rpartition(":")[2] for row in components}
    services = (key for key, type_ in types.items() if type_ == "EcsService")
    merged = {key.replace("EcsService", "TaskDefinition", 1): key for key in services}
    edges = {
        *_traffic(resources, types),
        *_relations(resources, owner),
        *_readers(resources, owner),
    }
    for task, service in merged.items():
        sizes[service] += sizes[task]
    several = {type_ for type_, count in Counter(types.values()).items() if count > 1}
    nodes = tuple(
        Node(key, _title(key, type_) if type_ in several else type_, _tier(type_), sizes[key])
        for key, type_ in sorted(types.items())
        if key not in merged
    )
    drawn = {node.key for node in nodes} | {_INTERNET}
    joined = {
        Edge(merged.get(e.source, e.source), merged.get(e.target, e.target), e.label, e.traffic)
        for e in edges
    }
    shown = {
        edge
        for edge in joined
        if edge.source != edge.target and {edge.source, edge.target} <= drawn
    }
    return Graph(deployment.stack, nodes, tuple(sorted(shown)))


def mermaid(diagram: Graph) -> str:
    """A Mermaid flowchart. Solid arrows are network connections with ports, and dotted arrows are
    relations between resources.
    """
    lines = ["flowchart TB", f"    {_INTERNET}((internet))"]
    for number, (tier, nodes) in enumerate(diagram.tiers()):
        lines.append(f'    subgraph tier{number} ["{tier}"]')
        for node in nodes:
            plural = "" if node.size == 1 else "s"
            lines.append(
                f'        {node.key}["{node.title}<br/><small>{node.size} '
                f'resource{plural}</small>"]'
            )
        lines.append("    end")
    for edge in diagram.edges:
        arrow = f'-->|"{edge.label}"|' if edge.traffic else f'-.->|"{edge.label}"|'
        lines.append(f"    {edge.source} {arrow} {edge.target}")
    return "\n".join(lines) + "\n"


def _is_component(resource: Resource) -> bool:
    return not resource.registration.custom and resource.registration.type.startswith("gatehouse:")


def _key(resource: Resource) -> str:
    return f"{resource.registration.type.rpartition(':')[2]}_{resource.registration.name.replace('-', '_')}"  # noqa: E501


def _owner(resource: Resource, resources: Mapping[str, Resource]) -> str:
    """Key of the innermost component of a resource; "" for a resource without one."""
    current = resource
    while not _is_component(current):
        if current.registration.parent not in resources:
            return ""
        current = resources[current.registration.parent]
    return _key(current)


def _tier(type_: str) -> str:
    return next((tier for tier, types in TIERS.items() if type_ in types), _OTHER)


def _title(key: str, type_: str) -> str:
    """Type and name, such as `EcsService gateway`."""
    return f"{type_} {key.partition('_')[2].replace('_', '-')}"


def _traffic(resources: Mapping[str, Resource], types: Mapping[str, str]) -> Iterable[Edge]:
    """Connections that security groups allow. A security group has the name of its component."""
    groups = {
        resource.id: resource.registration.name
        for resource in resources.values()
        if resource.registration.type == _SECURITY_GROUP
    }
    components: dict[str, str] = {}
    for key in types:
        name = key.partition("_")[2].replace("_", "-")
        if types[key] in _WITH_ADDRESSES or (
            types[key] == "TaskDefinition" and name not in components
        ):
            components[name] = key
    ports: dict[tuple[str, str], list[str]] = {}
    for resource in resources.values():
        inputs: Mapping[str, Any] = resource.registration.inputs
        if resource.registration.type == _INGRESS_RULE:
            source = groups.get(str(inputs.get("referencedSecurityGroupId", "")))
            target = groups.get(str(inputs["securityGroupId"]), "")
            start = (
                components.get(source, "") if source else _INTERNET if "cidrIpv4" in inputs else ""
            )
            if start and target in components:
                ports.setdefault((start, components[target]), []).append(
                    str(inputs.get("fromPort", "any"))
                )
    for (start, end), numbers in ports.items():
        yield Edge(
            start, end, ", ".join(sorted(set(numbers), key=lambda port: (len(port), port))), True
        )


def _relations(resources: Mapping[str, Resource], owner: Mapping[str, str]) -> Iterable[Edge]:
    for urn, resource in resources.items():
        if label := _CONNECTING_TYPES.get(resource.registration.type):
            # Only property dependencies are used, because other dependencies only determine the
            # order of creation.
            related = {
                dependency
                for urns in resource.registration.property_dependencies.values()
                for dependency in urns
            }
            for dependency in related:
                other = owner.get(dependency, "")
                if (
                    owner[urn]
                    and other
                    and other != owner[urn]
                    and not other.startswith(("KmsKeys", "Roles"))
                ):
                    yield Edge(owner[urn], other, label, False)


def _readers(resources: Mapping[str, Resource], owner: Mapping[str, str]) -> Iterable[Edge]:
    """The secrets that are injected into a process, from the dependencies of its container
    definitions.
    """
    for urn, resource in resources.items():
        if resource.registration.type == _TASK:
            for dependency in resource.registration.property_dependencies.get(
                "containerDefinitions", ()
            ):
                if owner.get(dependency, "").startswith("Secret"):
                    yield Edge(owner[urn], owner[dependency], "injected", False)
