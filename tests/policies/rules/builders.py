"""Building blocks of test programs."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pulumi_local.type_tokens import STATEFUL, aws

from tests.cases import cases
from tests.policies.declared import ACCOUNT, Declared, Ref

_CASES = cases(__file__)

Program = list[Declared]


def declared(resource_class: str, name: str, /, **inputs: Any) -> Declared:
    (type_, *_), computed, depends_on = (
        aws(resource_class),
        inputs.pop("computed", {}),
        inputs.pop("depends_on", ()),
    )
    return Declared(
        type_, name, inputs, protect=type_ in STATEFUL, computed=computed, depends_on=depends_on
    )


def find(program: Program, name: str) -> Declared:
    [resource] = [resource for resource in program if resource.name == name]
    return resource


def changed(program: Program, name: str, /, **inputs: Any) -> Program:
    assert any(resource.name == name for resource in program)
    return [
        resource.with_inputs(**inputs) if resource.name == name else resource
        for resource in program
    ]


def without(program: Program, *names: str) -> Program:
    assert {resource.name for resource in program} >= set(names)
    remaining = [resource for resource in program if resource.name not in names]
    return [
        replace(
            resource, depends_on=tuple(name for name in resource.depends_on if name not in names)
        )
        for resource in remaining
    ]


def retyped(program: Program, retype: Callable[[str], str]) -> Program:
    return [replace(resource, type=retype(resource.type)) for resource in program]


TAGS = {
    "Project": "gatehouse",
    "Environment": "prod",
    "Owner": "platform",
    "CostCentre": "1000",
    "ManagedBy": "pulumi",
    "DataClass": "confidential",
}
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/boundary"
DIGEST = "sha256:" + "a" * 64


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def tls_only(bucket: str) -> list[dict[str, Any]]:
    arns = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": arns}
    return [
        {**deny, "Condition": {"Bool": {"aws:SecureTransport": "false"}}},
        {**deny, "Condition": {"NumericLessThan": {"s3:TlsVersion": "1.2"}}},
        *(
            {
                **deny,
                "Action": "s3:PutObject",
                "Resource": arns[1:],
                "Condition": {"Null": {key: "false"}},
            }
            for key in (
                "s3:x-amz-server-side-encryption-customer-algorithm",
                "s3:x-amz-server-side-encryption-aws-kms-key-id",
            )
        ),
        {**deny, "Action": "s3:DeleteObjectVersion", "Resource": arns[1:]},
    ]


ROOT_STATEMENT = {
    "Effect": "Allow",
    "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
    "Action": "kms:*",
    "Resource": "*",
}
KEY_POLICY = document(ROOT_STATEMENT)


def kms() -> list[Declared]:
    inputs = {
        "description": "everything",
        "enableKeyRotation": True,
        "policy": KEY_POLICY,
        "tags": TAGS,
    }
    return [
        declared("kms.Key", "key", **inputs),
        declared("kms.Alias", "key-alias", name="alias/acme", targetKeyId=Ref("key")),
    ]


def replicated_key() -> list[Declared]:
    return [
        *changed(kms(), "key", multiRegion=True),
        declared(
            "kms.ReplicaKey",
            "replica",
            primaryKeyArn=Ref("key", "arn"),
            policy=KEY_POLICY,
            region="eu-central-1",
        ),
    ]


def monitoring(**metrics: tuple[str, str]) -> list[Declared]:
    """An alarm for each resource and a dashboard. metrics: namespace and dimension by resource."""
    return [
        *(
            declared(
                "cloudwatch.MetricAlarm",
                f"{name}-alarm",
                namespace=namespace,
                metricName=f"{name}-errors",
                dimensions={dimension: Ref(name)},
                alarmActions=[f"arn:aws:sns:eu-west-1:{ACCOUNT}:alarms"],
            )
            for name, (namespace, dimension) in metrics.items()
        ),
        declared(
            "cloudwatch.Dashboard",
            "dashboard",
            dashboardBody=json.dumps(
                {"widgets": [{"metrics": [namespace]} for namespace, _ in metrics.values()]}
            ),
        ),
    ]


def log_group(name: str, path: str) -> Declared:
    key = Ref("key", "arn")
    return declared(
        "cloudwatch.LogGroup", name, name=path, kmsKeyId=key, retentionInDays=365, tags=TAGS
    )


def security_rule(
    direction: str, name: str, group: str, port: int, description: str, **peer: Any
) -> Declared:
    return declared(
        f"vpc.SecurityGroup{direction}Rule",
        name,
        securityGroupId=Ref(group),
        description=description,
        ipProtocol="tcp",
        fromPort=port,
        toPort=port,
        **peer,
    )


def backed_up(*names: str) -> Declared:
    return declared("backup.Selection", "selection", resources=[Ref(name, "arn") for name in names])


def service_trust(service: str, **conditions: dict[str, str]) -> str:
    """A trust policy for an AWS service. conditions: keys with values, by operator."""
    allow = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return document({**allow, **({"Condition": conditions} if conditions else {})})


TRUST = service_trust("ecs-tasks.amazonaws.com", StringEquals={"aws:SourceAccount": ACCOUNT})


def github_trust(**operators: dict[str, Any]) -> str:
    host = "token.actions.githubusercontent.com"
    exact = {
        "StringEquals": {
            f"{host}:aud": "sts.amazonaws.com",
            f"{host}:sub": "repo:acme/gateway:environment:prod",
        }
    }
    return document(
        {
            "Effect": "Allow",
            "Principal": {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{host}"},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": operators or exact,
        }
    )


def grant(**changes: Any) -> str:
    default = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::acme-files/*"}
    return document(
        {key: value for key, value in {**default, **changes}.items() if value is not None}
    )


def container(**changes: Any) -> dict[str, Any]:
    default = {
        "name": "gateway",
        "image": f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/gateway@{DIGEST}",
        "essential": True,
        "readonlyRootFilesystem": True,
        "user": "65532:65532",
        "environment": [{"name": "GATEHOUSE_KEY_PREFIX", "value": "gtk"}],
        "secrets": [
            {
                "name": "GATEHOUSE_PEPPER",
                "valueFrom": f"arn:aws:secretsmanager:eu-west-1:{ACCOUNT}:secret:pepper",
            }
        ],
        "linuxParameters": {"capabilities": {"drop": ["ALL"]}},
        "healthCheck": {"command": ["CMD", "true"]},
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "mode": "non-blocking",
                "awslogs-group": "/acme/gateway",
                "awslogs-region": "eu-west-1",
            },
        },
    }
    return {key: value for key, value in {**default, **changes}.items() if value is not None}


def roles() -> list[Declared]:
    return [
        declared(
            "iam.Role",
            "task-role",
            assumeRolePolicy=TRUST,
            permissionsBoundary=BOUNDARY,
            computed={"managedPolicyArns": [], "inlinePolicies": []},
        ),
        # A permissions boundary may allow wildcards, because it grants nothing.
        declared(
            "iam.Policy", "boundary", policy=grant(Action=["kms:Decrypt", "s3:*"], Resource="*")
        ),
        declared(
            "iam.Role",
            "execution-role",
            assumeRolePolicy=TRUST,
            permissionsBoundary=Ref("boundary", "arn"),
        ),
        # ECS sends no source when it assumes the role for load balancers.
        declared(
            "iam.Role",
            "infrastructure-role",
            assumeRolePolicy=service_trust("ecs.amazonaws.com"),
            permissionsBoundary=BOUNDARY,
        ),
        declared(
            "iam.Role", "deployer", assumeRolePolicy=github_trust(), permissionsBoundary=BOUNDARY
        ),
        declared("iam.RolePolicy", "task-rights", role=Ref("task-role"), policy=grant()),
        declared("iam.Policy", "reading", policy=grant()),
        declared(
            "iam.RolePolicyAttachment",
            "reading-for-task",
            role=Ref("task-role"),
            policyArn=Ref("reading", "arn"),
        ),
        declared(
            "iam.RolePolicyAttachment",
            "audit-for-deployer",
            role=Ref("deployer"),
            policyArn="arn:aws:iam::aws:policy/SecurityAudit",
        ),
    ]


PATTERNS: dict[str, Any] = _CASES["patterns"]


def cis_alarms() -> list[Declared]:
    return [
        item
        for name, pattern in PATTERNS.items()
        for item in (
            declared(
                "cloudwatch.LogMetricFilter",
                f"{name}-filter",
                logGroupName=Ref("trail-logs", "name"),
                pattern=pattern,
                metricTransformation={"name": name, "namespace": "Acme", "value": "1"},
            ),
            declared(
                "cloudwatch.MetricAlarm",
                f"{name}-observed",
                metricName=name,
                namespace="Acme",
                alarmActions=[Ref("alarms", "arn")],
            ),
        )
    ]


DATA_EVENTS = {
    "fieldSelectors": [
        {"field": "eventCategory", "equals": ["Data"]},
        {"field": "resources.type", "equals": ["AWS::S3::Object"]},
    ]
}
MANAGEMENT_EVENTS = {"fieldSelectors": [{"field": "eventCategory", "equals": ["Management"]}]}
