"""One broken property at a time in what the first set of controls left: keys, writing to buckets, edges, and running."""

from __future__ import annotations

from typing import Any

from policies.testing.harness import ACCOUNT, Declared, Ref
from tests.policies import programs
from tests.policies.breaks import Program, broken, changed, without
from tests.policies.pieces import document, grant, kms, tls_only
from tests.policies.programs import replication
from tests.policies.topology import WORLD

RESPONSE = "routingHttpResponse"
ADMINISTRATOR = f"arn:aws:iam::{ACCOUNT}:role/administrator"


def key_policy(**statement: Any) -> Program:
    allow = {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*", **statement}
    root = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:*", "Resource": "*"}
    return changed(kms(), "key", policy=document(root, allow))


def replicated(**rule: Any) -> Program:
    return changed(programs.s3(), "files-replication", rules=[replication(**rule)])


def database(**inputs: Any) -> Program:
    return changed(programs.rds(), "database", **inputs)


def acl(*ingress: dict[str, Any]) -> Program:
    return changed(programs.network(), "fence", ingress=[{"protocol": "tcp", "cidrBlock": WORLD, **one} for one in ingress])


def firewall(**rule: Any) -> Program:
    rules = next(one for one in programs.edge() if one.name == "firewall").inputs["rules"]
    return changed(programs.edge(), "firewall", rules=[{**rules[0], **rule}, *rules[1:]])


def shells() -> Program:
    """Shells in tasks, with the endpoint that they need."""
    endpoint = next(one for one in programs.network() if one.name == "sts-endpoint")
    messages = endpoint.with_inputs(serviceName="com.amazonaws.eu-west-1.ssmmessages")
    program = changed(programs.ecs(), "service", enableExecuteCommand=True)
    return [*program, Declared(messages.type, "messages-endpoint", messages.inputs)]


CASES = [
    # --- S3
    broken(
        "GH-S3-006",
        "files",
        "no bucket policy denies objects with another KMS key",
        changed(programs.s3(), "files-policy", policy=document(*tls_only("acme-files")[:3], tls_only("acme-files")[4])),
    ),
    broken(
        "GH-S3-006",
        "sink",
        "no bucket policy denies objects with customer-provided keys (SSE-C)",
        changed(programs.s3(), "sink-policy", policy=document(*tls_only("acme-sink")[:2], *tls_only("acme-sink")[3:])),
    ),
    broken("GH-S3-013", "files", "no replication belongs to this bucket", without(programs.s3(), "files-replication")),
    broken(
        "GH-S3-013",
        "files",
        "rules[0].deleteMarkerReplication is not enabled",
        replicated(deleteMarkerReplication={"status": "Disabled"}),
        fix='set deleteMarkerReplication.status="Enabled"',
    ),
    broken(
        "GH-S3-017",
        "files",
        "versions can be deleted by whoever may delete objects: no lock, no deny, no MFA delete",
        changed(programs.s3(), "files-policy", policy=document(*tls_only("acme-files")[:4])),
    ),
    # --- KMS
    broken(
        "GH-KMS-005",
        "key",
        "the key policy lets logs.eu-west-1.amazonaws.com use the key without saying for whom",
        key_policy(Principal={"Service": "logs.eu-west-1.amazonaws.com"}),
    ),
    broken(
        "GH-KMS-006",
        "key",
        f"the key policy lets {ADMINISTRATOR} both administer and use the key",
        key_policy(Principal={"AWS": ADMINISTRATOR}, Action="kms:*"),
    ),
    broken("GH-KMS-008", "key", "no alias names this key", without(kms(), "key-alias")),
    broken("GH-KMS-008", "key", "the key has no description", changed(kms(), "key", description=None)),
    broken(
        "GH-KMS-008",
        "trail-logs",
        "kmsKeyId names a key that AWS manages",
        changed(programs.watch(), "trail-logs", kmsKeyId="arn:aws:kms:eu-west-1:123456789012:alias/aws/logs"),
    ),
    broken(
        "GH-KMS-009",
        "key",
        "multiRegion is true, and no replica of the key is in the program",
        changed(kms(), "key", multiRegion=True),
    ),
    # --- ECS, load balancers, certificates, web firewalls
    broken("GH-ECS-010", "service", "enableExecuteCommand is true", shells()),
    broken("GH-ALB-009", "targets", "protocol is not encrypted", changed(programs.edge(), "targets", protocol="HTTP")),
    broken("GH-ALB-009", "targets", "healthCheck names no path", changed(programs.edge(), "targets", healthCheck=None)),
    broken(
        "GH-ALB-010",
        "https",
        f"{RESPONSE}StrictTransportSecurityHeaderValue asks for less than a year",
        changed(programs.edge(), "https", routingHttpResponseStrictTransportSecurityHeaderValue="max-age=300"),
        fix=f'set {RESPONSE}StrictTransportSecurityHeaderValue="max-age=31536000; includeSubDomains"',
    ),
    broken(
        "GH-ALB-010",
        "https",
        f"{RESPONSE}ServerEnabled is not false",
        changed(programs.edge(), "https", routingHttpResponseServerEnabled=None),
        fix=f"set {RESPONSE}ServerEnabled=False",
    ),
    broken(
        "GH-ACM-001",
        "certificate",
        "the certificate stands for a wildcard",
        changed(programs.edge(), "certificate", subjectAlternativeNames=["*.example.com"]),
    ),
    broken(
        "GH-ACM-001",
        "certificate",
        "validationMethod is not DNS",
        changed(programs.edge(), "certificate", validationMethod="EMAIL"),
    ),
    broken("GH-WAF-004", "firewall", "rules[0].overrideAction is count", firewall(overrideAction={"count": {}})),
    # --- RDS
    broken("GH-RDS-009", "database", "monitoringInterval is 0", database(monitoringInterval=None)),
    broken("GH-RDS-009", "database", "performanceInsightsEnabled is not true", database(performanceInsightsEnabled=False)),
    broken("GH-RDS-011", "database", "copyTagsToSnapshot is not true", database(copyTagsToSnapshot=None)),
    broken("GH-RDS-013", "database", "the owner has a name that everybody guesses", database(username="postgres")),
    broken("GH-RDS-014", "database", "port is the engine's usual one", database(port=None)),
    broken(
        "GH-RDS-015",
        "database",
        "caCertIdentifier is not a current certificate authority",
        database(caCertIdentifier="rds-ca-2019"),
    ),
    broken("GH-RDS-017", "database", "nobody hears db-instance events", without(programs.rds(), "db-instance")),
    # --- Caches and tables
    broken("GH-EC-006", "cache", "engine is not in lower case", changed(programs.stores(), "cache", engine="Valkey")),
    broken(
        "GH-EC-006",
        "cache",
        "autoMinorVersionUpgrade is false",
        changed(programs.stores(), "cache", autoMinorVersionUpgrade=False),
    ),
    broken("GH-EC-007", "cache", "subnetGroupName is not set", changed(programs.stores(), "cache", subnetGroupName=None)),
    broken(
        "GH-DDB-004",
        "tokens",
        "the table has a fixed capacity, and nothing scales it",
        changed(programs.stores(), "tokens", billingMode="PROVISIONED"),
    ),
    # --- Networks
    broken(
        "GH-VPC-005",
        "to-cores",
        "the rule lets everything out to the whole internet",
        changed(programs.edge(), "to-cores", ipProtocol="-1", fromPort=None, toPort=None),
    ),
    broken("GH-VPC-006", "to-cores", "description is not set", changed(programs.edge(), "to-cores", description=None)),
    broken(
        "GH-VPC-006",
        "gateway-group",
        "the group has rules inside it and beside it",
        changed(
            programs.edge(),
            "gateway-group",
            egress=[{"description": "Cores", "protocol": "tcp", "fromPort": 443, "toPort": 443, "cidrBlocks": ["10.0.0.0/8"]}],
        ),
    ),
    broken(
        "GH-VPC-007",
        "fence",
        "port 3389 is open to 0.0.0.0/0",
        acl(
            {"ruleNo": 10, "action": "deny", "fromPort": 22, "toPort": 22},
            {"ruleNo": 20, "action": "allow", "fromPort": 1024, "toPort": 65535},
            {"ruleNo": 30, "action": "deny", "fromPort": 3389, "toPort": 3389},
        ),
    ),
    broken(
        "GH-VPC-008",
        "vpc",
        "no endpoint for ecr.dkr belongs to this VPC",
        without(programs.ecs(), "ecr.dkr-endpoint"),
    ),
    broken("GH-VPC-011", "vpc", "nothing blocks public access to VPCs of this region", without(programs.network(), "block")),
    broken(
        "GH-VPC-011",
        "vpc",
        "no exclusion lets traffic reach the load balancer",
        without(programs.edge(), "block-exclusion"),
    ),
    # --- Identities and the program
    broken(
        "GH-IAM-007",
        "task-role",
        "permissionsBoundary is not set",
        changed(programs.roles(), "task-role", permissionsBoundary=None),
    ),
    broken(
        "GH-IAM-007",
        "task-rights",
        "a statement allows iam:PassRole without iam:PassedToService",
        changed(
            programs.roles(),
            "task-rights",
            policy=grant(Action="iam:PassRole", Resource=f"arn:aws:iam::{ACCOUNT}:role/acme-*"),
        ),
    ),
    broken(
        "GH-PUL-003",
        "key-alias",
        "region is not one of those that were agreed on",
        changed(kms(), "key-alias", region="us-west-2"),
    ),
    broken(
        "GH-PUL-004",
        "files",
        "versioning is set on the bucket itself",
        changed(programs.s3(), "files", versioning={"enabled": True}),
    ),
    broken(
        "GH-PUL-004",
        "old",
        "aws.alb and aws.lb are used side by side",
        [
            *programs.edge(),
            Declared(
                "aws:alb/targetGroup:TargetGroup",
                "old",
                {"vpcId": Ref("vpc"), "protocol": "HTTPS", "healthCheck": {"path": "/"}},
            ),
        ],
    ),
]
