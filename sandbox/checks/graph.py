"""Draws the components of a deployment by tier, and who talks to whom: from the resources themselves, as Mermaid or SVG."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from sandbox.engine.types import Deployment, Resource

FORMATS = ("mermaid", "svg")
TIERS: Mapping[str, tuple[str, ...]] = {
    "Edge": ("WebAcl", "LoadBalancer", "Certificate", "SharingFunction"),
    "App tier, no public addresses": ("EcsService", "TaskDefinition", "VpcEndpoints"),
    "Data tier, no internet access": ("RdsInstance", "Valkey", "RdsProxy"),
    "AWS data stores": ("SecretLinksTable", "Bucket", "Secret", "RotationFunction", "ContainerImage", "BackupPlan"),
    "Keys and roles": ("KmsKeys", "Roles", "PermissionsBoundary", "DeliveryRoles", "AccountBaseline"),
    "Audit trail and alarms": (
        "CloudTrail",
        "Alarms",
        "LogAlarms",
        "DataProtection",
        "NotificationTopic",
        "SyntheticProbe",
        "Budget",
    ),
    "Network": ("Vpc", "SecurityGroups", "NetworkAcls", "ServiceDiscovery", "EcsCluster"),
}
"""Title of a tier and the component types in it. A type that is in none stands under "More"."""

_MORE = "More"
_INTERNET = "internet"
# Type of a resource that joins two components, and what the owner of the resource does to the other one.
_JOINS = {
    "aws:wafv2/webAclAssociation:WebAclAssociation": "guards",
    "aws:secretsmanager/secretRotation:SecretRotation": "made by",
    "aws:s3/bucketLogging:BucketLogging": "logs to",
    "aws:cloudtrail/trail:Trail": "writes to",
    "aws:s3/bucketReplicationConfig:BucketReplicationConfig": "replicates to",
    "aws:backup/selection:Selection": "keeps copies of",
}
_TASK = "aws:ecs/taskDefinition:TaskDefinition"
_INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
_GROUP = "aws:ec2/securityGroup:SecurityGroup"
_BOX, _GAP, _ROW, _COLUMNS = (190, 46), 24, 110, 6


@dataclass(frozen=True, slots=True)
class Node:
    """A component: `key` is unique, `title` its type and name, `tier` where it stands, `size` how many resources it has."""

    key: str
    title: str
    tier: str
    size: int


@dataclass(frozen=True, slots=True, order=True)
class Edge:
    """`source` does `label` to `target`; `traffic` is a connection that a security group lets through."""

    source: str
    target: str
    label: str
    traffic: bool


@dataclass(frozen=True, slots=True)
class Graph:
    """What is drawn."""

    stack: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def tiers(self) -> list[tuple[str, list[Node]]]:
        """Every tier that has a component, from the outside in."""
        rows = [(tier, [node for node in self.nodes if node.tier == tier]) for tier in (*TIERS, _MORE)]
        return [(tier, nodes) for tier, nodes in rows if nodes]


def graph(deployment: Deployment) -> Graph:
    """The components of a deployment with known outputs. A service and its task are one box."""
    made = {resource.registration.urn: resource for resource in deployment.resources}
    owner = {urn: _owner(resource, made) for urn, resource in made.items()}
    sizes: dict[str, int] = {}
    for urn, resource in made.items():
        if resource.registration.custom and owner[urn]:
            sizes[owner[urn]] = sizes.get(owner[urn], 0) + 1
    # A composite contains components only and is not drawn.
    types = {_key(r): r.registration.type.rpartition(":")[2] for r in made.values() if _is_component(r) and _key(r) in sizes}
    served = {key.partition("_")[2] for key, type_ in types.items() if type_ == "EcsService"}
    merged = {f"TaskDefinition_{name}": f"EcsService_{name}" for name in served if f"TaskDefinition_{name}" in types}
    edges = {*_traffic(made, types), *_joins(made, owner), *_readers(made, owner)}
    moved = {Edge(merged.get(e.source, e.source), merged.get(e.target, e.target), e.label, e.traffic) for e in edges}
    nodes = [
        Node(key, _title(key, type_), _tier(type_), sizes.get(key, 0) + _task_size(key, sizes, merged))
        for key, type_ in sorted(types.items())
        if key not in merged
    ]
    drawn = {node.key for node in nodes} | {_INTERNET}
    kept = {edge for edge in moved if edge.source != edge.target and {edge.source, edge.target} <= drawn}
    return Graph(deployment.stack, tuple(nodes), tuple(sorted(kept)))


def draw(found: Graph, form: str) -> str:
    """The drawing as text in one of `FORMATS`."""
    return {"mermaid": mermaid, "svg": svg}[form](found)


def mermaid(found: Graph) -> str:
    """A Mermaid flowchart; solid arrows are connections with their ports, dotted ones are what AWS does for us."""
    lines = ["flowchart TB", f"    {_INTERNET}((internet))"]
    for number, (tier, nodes) in enumerate(found.tiers()):
        lines.append(f'    subgraph tier{number} ["{tier}"]')
        lines += [f'        {node.key}["{node.title}<br/><small>{_count(node.size)}</small>"]' for node in nodes]
        lines.append("    end")
    for edge in found.edges:
        arrow = f'-->|"{edge.label}"|' if edge.traffic else f'-.->|"{edge.label}"|'
        lines.append(f"    {edge.source} {arrow} {edge.target}")
    return "\n".join(lines) + "\n"


def svg(found: Graph) -> str:
    """A drawing of its own: one band a tier, boxes in rows, curves from box to box."""
    place: dict[str, tuple[int, int]] = {_INTERNET: (_GAP, 30)}
    bands: list[str] = []
    top = 100
    width = _COLUMNS * (_BOX[0] + _GAP) + _GAP
    for tier, nodes in found.tiers():
        rows = -(-len(nodes) // _COLUMNS)
        height = rows * (_BOX[1] + _GAP) + 30
        bands.append(f'<rect class="tier" x="6" y="{top}" width="{width - 12}" height="{height}" rx="8"/>')
        bands.append(f'<text class="title" x="16" y="{top + 18}">{escape(tier)}</text>')
        for index, node in enumerate(nodes):
            column, row = index % _COLUMNS, index // _COLUMNS
            place[node.key] = (_GAP + column * (_BOX[0] + _GAP), top + 28 + row * (_BOX[1] + _GAP))
        top += height + _ROW // 2
    titles = {node.key: (node.title, _count(node.size)) for node in found.nodes} | {_INTERNET: ("internet", "")}
    boxes = [_box(*place[key], *titles[key]) for key in place]
    curves = [_curve(place[edge.source], place[edge.target], edge) for edge in found.edges]
    style = (
        "text{font:12px sans-serif;fill:#1f2933}.small{font-size:10px;fill:#52606d}.title{font-weight:bold;fill:#52606d}"
        ".tier{fill:#f5f7fa;stroke:#cbd2d9}.box{fill:#fff;stroke:#3e4c59}.edge{fill:none;stroke:#7b8794}"
        ".quiet{stroke-dasharray:4 3}.label{font-size:10px;fill:#52606d;paint-order:stroke;stroke:#fff;stroke-width:3px}"
    )
    arrow = (
        '<marker id="a" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#7b8794"/></marker>'
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" width="{width}" height="{top}" role="img">'
    title = f"<title>Gatehouse, stack {escape(found.stack)}</title>"
    return "\n".join([head, title, f"<style>{style}</style>", f"<defs>{arrow}</defs>", *bands, *curves, *boxes, "</svg>"]) + "\n"


def _is_component(resource: Resource) -> bool:
    return not resource.registration.custom and resource.registration.type.startswith("gatehouse:")


def _key(resource: Resource) -> str:
    return f"{resource.registration.type.rpartition(':')[2]}_{resource.registration.name.replace('-', '_')}"


def _owner(resource: Resource, made: Mapping[str, Resource]) -> str:
    """Key of the innermost component that contains a resource, "" for one outside of all."""
    current = resource
    while not _is_component(current):
        if current.registration.parent not in made:
            return ""
        current = made[current.registration.parent]
    return _key(current)


def _tier(type_: str) -> str:
    return next((tier for tier, types in TIERS.items() if type_ in types), _MORE)


def _title(key: str, type_: str) -> str:
    """`Service gateway`; `Database` alone where the name says no more than the type."""
    name = key.partition("_")[2].replace("_", "-")
    return type_ if name == type_.lower() else f"{type_} {name}"


def _task_size(key: str, sizes: Mapping[str, int], merged: Mapping[str, str]) -> int:
    return sum(sizes.get(task, 0) for task, service in merged.items() if service == key)


def _traffic(made: Mapping[str, Resource], types: Mapping[str, str]) -> Iterable[Edge]:
    """Connections that security groups let in. A group carries the name of the component that it protects."""
    groups = {resource.id: resource.registration.name for resource in made.values() if resource.registration.type == _GROUP}
    named: dict[str, str] = {}
    for key in types:
        # The component that has the addresses: the load balancer, not the web ACL; the service, not its task.
        name = key.partition("_")[2].replace("_", "-")
        if types[key] in ("LoadBalancer", "EcsService", "RdsInstance", "Valkey", "VpcEndpoints", "RdsProxy") or (
            types[key] == "TaskDefinition" and name not in named
        ):
            named[name] = key
    ports: dict[tuple[str, str], list[str]] = {}
    for resource in made.values():
        asked: Mapping[str, Any] = resource.registration.inputs
        if resource.registration.type == _INGRESS:
            source = groups.get(str(asked.get("referencedSecurityGroupId", "")))
            target = groups.get(str(asked["securityGroupId"]), "")
            start = named.get(source, "") if source else _INTERNET if "cidrIpv4" in asked else ""
            if start and target in named:
                ports.setdefault((start, named[target]), []).append(str(asked.get("fromPort", "any")))
    for (start, end), found in ports.items():
        yield Edge(start, end, ", ".join(sorted(set(found), key=lambda port: (len(port), port))), True)


def _joins(made: Mapping[str, Resource], owner: Mapping[str, str]) -> Iterable[Edge]:
    for urn, resource in made.items():
        if label := _JOINS.get(resource.registration.type):
            # By property, because what a resource merely waits for is not what it is about.
            related = {dependency for urns in resource.registration.property_dependencies.values() for dependency in urns}
            for dependency in related:
                other = owner.get(dependency, "")
                if owner[urn] and other and other != owner[urn] and not other.startswith(("KmsKeys", "Roles")):
                    yield Edge(owner[urn], other, label, False)


def _readers(made: Mapping[str, Resource], owner: Mapping[str, str]) -> Iterable[Edge]:
    """Which process is given which secret: what its container definition is made from."""
    for urn, resource in made.items():
        if resource.registration.type == _TASK:
            for dependency in resource.registration.property_dependencies.get("containerDefinitions", ()):
                if owner.get(dependency, "").startswith("Secret"):
                    yield Edge(owner[urn], owner[dependency], "is given", False)


def _count(size: int) -> str:
    return f"{size} resource{'' if size == 1 else 's'}"


def _box(x: int, y: int, title: str, small: str) -> str:
    text = f'<text x="{x + 10}" y="{y + 20}">{escape(title)}</text><text class="small" x="{x + 10}" y="{y + 36}">{small}</text>'
    return f'<rect class="box" x="{x}" y="{y}" width="{_BOX[0]}" height="{_BOX[1]}" rx="6"/>{text}'


def _curve(start: tuple[int, int], end: tuple[int, int], edge: Edge) -> str:
    down = end[1] > start[1]
    x1, y1 = start[0] + _BOX[0] // 2, start[1] + (_BOX[1] if down else 0)
    x2, y2 = end[0] + _BOX[0] // 2, end[1] + (0 if down else _BOX[1])
    if start[1] == end[1]:
        y1 = y2 = start[1] + _BOX[1]
        path = f"M{x1} {y1} C{x1} {y1 + 30} {x2} {y2 + 30} {x2} {y2}"
        y1 = y2 = start[1] + _BOX[1] + 18
    else:
        middle = (y1 + y2) // 2
        path = f"M{x1} {y1} C{x1} {middle} {x2} {middle} {x2} {y2}"
    # Nearer to the target, where fewer curves cross.
    label = (
        f'<text class="label" x="{(x1 + 2 * x2) // 3}" y="{(y1 + 2 * y2) // 3}" text-anchor="middle">{escape(edge.label)}</text>'
    )
    return f'<path class="edge{"" if edge.traffic else " quiet"}" d="{path}" marker-end="url(#a)"/>{label}'
