"""Programs that violate one control: queues, repository policies, listener rules, event selectors,
replicas and schedules.
"""

import json
from typing import Any

from tests.policies.pack_process import ACCOUNT, Ref
from tests.policies.rules.account_programs import OPENAPI, account, api, openapi, trail
from tests.policies.rules.builders import (
    TAGS,
    Program,
    by_change,
    changed,
    data_events,
    declared,
    document,
    violation,
    without,
)
from tests.policies.rules.network_programs import edge, network
from tests.policies.rules.programs import ephemeral, s3, secrets, stores
from tests.policies.rules.violations_access import STRANGER, stranger_statement

EVERYONE = {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}
QUEUE_ARN = f"arn:aws:sqs:eu-west-1:{ACCOUNT}:jobs"
TLS_STATEMENT = {
    "Effect": "Deny",
    "Principal": "*",
    "Action": "sqs:*",
    "Resource": QUEUE_ARN,
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}


def queues(*statements: dict[str, Any], **inputs: Any) -> Program:
    """A queue with its dead-letter queue. statements: further statements of the queue policy.
    inputs: of the queue.
    """
    return [
        declared("sqs.Queue", "failed-jobs", policy=document(TLS_STATEMENT)),
        declared(
            "sqs.Queue",
            "jobs",
            **{
                "redrivePolicy": {
                    "deadLetterTargetArn": Ref("failed-jobs", "arn"),
                    "maxReceiveCount": 5,
                },
                **inputs,
            },
        ),
        declared(
            "sqs.QueuePolicy",
            "jobs-policy",
            queueUrl=Ref("jobs"),
            policy=document(TLS_STATEMENT, *statements),
        ),
    ]


def repository_policy(*statements: dict[str, Any]) -> Program:
    return [
        declared(
            "ecr.RepositoryPolicy", "images-policy", repository="acme", policy=document(*statements)
        )
    ]


def pull(**changes: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Principal": "*", "Action": "ecr:BatchGetImage", **changes}


def listener_rule(listener: str, action: str) -> Program:
    redirect = {"type": "redirect", "redirect": {"protocol": "HTTPS", "statusCode": "HTTP_301"}}
    forward = {
        "type": "forward",
        "targetGroupArn": "arn:aws:elasticloadbalancing:::targetgroup/gateway",
    }
    actions = [{"redirect": redirect, "forward": forward}[action]]
    return [
        *edge(),
        declared("lb.ListenerRule", "rule", listenerArn=Ref(listener, "arn"), actions=actions),
    ]


def network_balancer(port: int, *, internal: bool = False) -> Program:
    return [
        declared(
            "lb.LoadBalancer",
            "tcp-balancer",
            loadBalancerType="network",
            internal=internal,
            subnets=["subnet-1", "subnet-2"],
            enableDeletionProtection=True,
            accessLogs={"enabled": True, "bucket": "acme-sink"},
            tags=TAGS,
        ),
        declared(
            "lb.Listener",
            "tcp",
            loadBalancerArn=Ref("tcp-balancer", "arn"),
            protocol="TCP",
            port=port,
        ),
        declared(
            "cloudwatch.MetricAlarm",
            "tcp-alarm",
            namespace="AWS/NetworkELB",
            metricName="UnHealthyHostCount",
            dimensions={"LoadBalancer": Ref("tcp-balancer")},
            alarmActions=[f"arn:aws:sns:eu-west-1:{ACCOUNT}:alarms"],
        ),
        declared(
            "cloudwatch.Dashboard",
            "dashboard",
            dashboardBody=json.dumps({"widgets": [{"metrics": ["AWS/NetworkELB"]}]}),
        ),
    ]


def interface_endpoint(**changes: Any) -> Program:
    policy = document(
        {**EVERYONE, "Condition": {"StringEquals": {"aws:PrincipalAccount": ACCOUNT}}}
    )
    inputs = {
        "vpcId": Ref("vpc"),
        "serviceName": "com.amazonaws.eu-west-1.sqs",
        "vpcEndpointType": "Interface",
        "privateDnsEnabled": True,
        "securityGroupIds": ["sg-1"],
        "policy": policy,
        **changes,
    }
    return [
        *network(),
        declared(
            "ec2.VpcEndpoint", "sqs-endpoint", **{key: inputs[key] for key in inputs if inputs[key]}
        ),
    ]


def management_events(**equals: list[str]) -> dict[str, Any]:
    fields = {"eventCategory": ["Management"], **equals}
    return {
        "fieldSelectors": [{"field": name, "equals": values} for name, values in fields.items()]
    }


def trail_with(*selectors: dict[str, Any]) -> Program:
    return changed(trail(), "trail", advancedEventSelectors=[data_events(), *selectors])


def rate_limited(limit: int) -> Program:
    [web_acl] = [resource for resource in edge() if resource.name == "web-acl"]
    *groups, rate = web_acl.inputs["rules"]
    return changed(
        edge(),
        "web-acl",
        rules=[*groups, {**rate, "statement": {"rateBasedStatement": {"limit": limit}}}],
    )


def data_tagged_as_sink() -> Program:
    """A bucket that no resource delivers logs to."""
    tags = {**TAGS, "gatehouse:purpose": "log-sink"}
    return without(changed(s3(), "files", tags=tags), "files-logging")


def replicated_table(**changes: Any) -> Program:
    replica = {
        "regionName": "eu-central-1",
        "kmsKeyArn": f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/table",
        "pointInTimeRecovery": True,
        **changes,
    }
    [table] = [item for item in stores() if item.type == "aws:dynamodb/table:Table"]
    return changed(
        stores(), table.name, replicas=[{key: replica[key] for key in replica if replica[key]}]
    )


def replicated_secret(**changes: Any) -> Program:
    replica = {
        "region": "eu-central-1",
        "kmsKeyId": f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/secrets",
        **changes,
    }
    return changed(
        secrets(), "pepper", replicas=[{key: replica[key] for key in replica if replica[key]}]
    )


def table_name() -> str:
    [table] = [item for item in stores() if item.type == "aws:dynamodb/table:Table"]
    return table.name


def rotation(schedule: str) -> Program:
    return changed(secrets(), "pepper-rotation", rotationRules={"scheduleExpression": schedule})


SCHEDULES = (
    "cron(0 4 1 1 ? *)",
    "cron(0 4 1 JAN,JUL ? *)",
    "cron(0 4 1 */2 ? *)",
    "cron(0 4 1 * ? 2027)",
)
BROKEN_API = json.dumps({**OPENAPI, "paths": {"/things": {"get": {}}}, "security": []})

VIOLATIONS = [
    violation("GH-SQS-001", "jobs", "sqsManagedSseEnabled", queues(sqsManagedSseEnabled=False)),
    violation("GH-SQS-002", "jobs", '"*"', queues({**EVERYONE, "Action": "sqs:SendMessage"})),
    violation("GH-SQS-002", "jobs", STRANGER, queues(stranger_statement("sqs:ReceiveMessage"))),
    violation("GH-SQS-003", "jobs", "TLS", without(queues(), "jobs-policy")),
    violation("GH-SQS-004", "jobs", "redrivePolicy", queues(redrivePolicy=None)),
    violation("GH-ECR-006", "images-policy", '"*"', repository_policy(pull())),
    violation(
        "GH-ECR-006",
        "images-policy",
        STRANGER,
        repository_policy(pull(Principal={"AWS": STRANGER})),
    ),
    violation("GH-ALB-011", "rule", "actions[0]", listener_rule("http", "forward")),
    violation("GH-ALB-012", "tcp", "port 80", network_balancer(80)),
    *(
        violation("GH-CT-007", "trail", "management", trail_with(*selectors))
        for selectors in (
            (),
            (management_events(readOnly=["true"]),),
            (management_events(eventSource=["kms.amazonaws.com"]),),
        )
    ),
    *(
        by_change(
            "GH-CT-007",
            trail,
            "trail",
            "management",
            advancedEventSelectors=None,
            eventSelectors=[basic],
        )
        for basic in (
            {
                "includeManagementEvents": False,
                "dataResources": [{"type": "AWS::S3::Object", "values": ["arn:aws:s3"]}],
            },
            {
                "excludeManagementEventSources": ["kms.amazonaws.com"],
                "dataResources": [{"type": "AWS::S3::Object", "values": ["arn:aws:s3"]}],
            },
        )
    ),
    violation("GH-ACC-002", "recorder", "RecorderStatus", without(account(), "recorder-status")),
    by_change(
        "GH-ACC-002",
        account,
        "recorder-status",
        "RecorderStatus",
        reported="recorder",
        isEnabled=False,
    ),
    by_change(
        "GH-ACC-002",
        account,
        "recorder",
        "allSupported",
        recordingGroup={"allSupported": False, "resourceTypes": []},
    ),
    violation(
        "GH-VPC-009", "sqs-endpoint", "everyone", interface_endpoint(policy=document(EVERYONE))
    ),
    violation("GH-VPC-009", "sqs-endpoint", "policy is not set", interface_endpoint(policy=None)),
    violation(
        "GH-VPC-012",
        "sqs-endpoint",
        "privateDnsEnabled",
        interface_endpoint(privateDnsEnabled=False),
    ),
    violation(
        "GH-VPC-012", "sqs-endpoint", "securityGroupIds", interface_endpoint(securityGroupIds=None)
    ),
    violation("GH-WAF-001", "web-acl", "limit", rate_limited(2_000_000_000)),
    violation("GH-S3-020", "files", "delivers", data_tagged_as_sink()),
    violation("GH-TAG-002", "links", "ephemeral", ephemeral()),
    violation("GH-TAG-002", "acme-prod", "accountGuards", account(accountGuards="external")),
    violation(
        "GH-DDB-001",
        table_name(),
        "pointInTimeRecovery",
        replicated_table(pointInTimeRecovery=False),
    ),
    violation("GH-DDB-002", table_name(), "kmsKeyArn", replicated_table(kmsKeyArn=None)),
    violation(
        "GH-PUL-003",
        table_name(),
        "replicas[0].regionName",
        replicated_table(regionName="us-west-1"),
    ),
    violation("GH-PUL-003", "pepper", "replicas[0].region", replicated_secret(region="us-west-1")),
    violation("GH-SM-001", "pepper", "replicas[0].kmsKeyId", replicated_secret(kmsKeyId=None)),
    *(
        violation("GH-SM-003", "pepper-rotation", "30", rotation(schedule))
        for schedule in SCHEDULES
    ),
    by_change(
        "GH-API-002", api, "post", "authorization", authorization="NONE", apiKeyRequired=True
    ),
    *(
        by_change("GH-API-006", api, "rest", mention, body=body)
        for mention, body in (
            ("POST /things", openapi(security=[])),
            ("POST /things", openapi(security=[{"key": []}])),
            ("POST /things", openapi(security=[{"iam": []}, {}])),
            ("GET /things", BROKEN_API),
        )
    ),
    by_change("GH-API-006", api, "http", "target", target="https://backend.example.com"),
]

PULL_BY_ORGANIZATION = pull(Condition={"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}})
COMPLIANT: dict[str, Program] = {
    "queues": queues(),
    "queue with a topic": queues(
        {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": QUEUE_ARN,
            "Condition": {
                "ArnEquals": {"aws:SourceArn": f"arn:aws:sns:eu-west-1:{ACCOUNT}:events"}
            },
        }
    ),
    "repository policy with an organization": repository_policy(PULL_BY_ORGANIZATION),
    "rule of an HTTP listener that redirects": listener_rule("http", "redirect"),
    "rule of an HTTPS listener": listener_rule("https", "forward"),
    "TCP listener for an encrypted protocol": network_balancer(443),
    "TCP listener of an internal load balancer": network_balancer(80, internal=True),
    "alarm on a metric math expression": changed(
        network_balancer(443),
        "tcp-alarm",
        namespace=None,
        metricName=None,
        dimensions=None,
        metricQueries=[
            {"id": "failed", "expression": "unhealthy / 2", "returnData": True},
            {
                "id": "unhealthy",
                "metric": {
                    "namespace": "AWS/NetworkELB",
                    "dimensions": {"LoadBalancer": Ref("tcp-balancer")},
                },
            },
        ],
    ),
    "interface endpoint": interface_endpoint(),
    "all management events in basic selectors": changed(
        trail(),
        "trail",
        advancedEventSelectors=None,
        eventSelectors=[{"dataResources": [{"type": "AWS::S3::Object", "values": ["arn:aws:s3"]}]}],
    ),
    "recorder with exclusions": changed(
        account(),
        "recorder",
        recordingGroup={
            "allSupported": False,
            "recordingStrategies": [{"useOnly": "EXCLUSION_BY_RESOURCE_TYPES"}],
        },
    ),
    "replicated table": replicated_table(),
    "replicated secret": replicated_secret(),
    **{
        f"rotation {schedule}": rotation(schedule)
        for schedule in (
            "cron(0 4 ? * SUN *)",
            "cron(0 4 L JAN-DEC ? *)",
            "cron(0 4 1 1/1 ? *)",
            "rate(7 days)",
        )
    },
    "OpenAPI document in YAML": changed(
        api(),
        "rest",
        body="swagger: '2.0'\npaths:\n  /a:\n    get:\n      security: [{lambda: []}]\n"
        "securityDefinitions:\n  lambda: {type: apiKey, x-amazon-apigateway-authorizer: {type: "
        "request}}\n",
    ),
}
