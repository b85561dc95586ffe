"""One broken property at a time in the account, its backups, its APIs, its audited bucket and what watches it."""

from __future__ import annotations

from typing import Any

from policies.testing.harness import Declared, Ref
from tests.policies import estate, programs
from tests.policies.alarms import data_events, topic_policy
from tests.policies.breaks import Program, broken, changed, without
from tests.policies.pieces import document, masking, tls_only

ANYONE = {"Effect": "Allow", "Principal": "*", "Action": "sns:Publish", "Resource": "*"}


def unlogged() -> Program:
    """The trail's bucket says that it receives logs, which excuses it from logging access, but not from the trail's rule."""
    program = without(estate.audit(), "files-logging")
    files = next(one for one in program if one.name == "files")
    purpose = {**files.inputs["tags"], "gatehouse:purpose": "log-sink"}
    return changed(program, "files", tags=purpose)


def plan(**rule: Any) -> Program:
    return changed(estate.backup(), "plan", rules=[estate.backup_rule(**rule)])


def fed_by_the_database() -> Program:
    rotate = next(one for one in programs.watch() if one.name == "rotate")
    variables = {"DATABASE_HOST": Ref("database")}
    reader = Declared(rotate.type, "reader", rotate.inputs).with_inputs(environment={"variables": variables})
    alarm = next(one for one in programs.watch() if one.name == "rotate-alarm").with_inputs(
        dimensions={"FunctionName": Ref("reader")}
    )
    board = next(one for one in programs.watch() if one.name == "board")
    return [*programs.rds(), reader, alarm, Declared(board.type, "lambda-board", board.inputs)]


CASES = [
    # --- The account
    broken(
        "GH-S3-002",
        "acme-prod",
        "the program has buckets, and no public access block for the account",
        without(estate.account(), "no-public-buckets"),
    ),
    broken(
        "GH-S3-002",
        "acme-prod",
        "ignorePublicAcls is not true in no-public-buckets",
        changed(estate.account(), "no-public-buckets", ignorePublicAcls=False),
    ),
    broken(
        "GH-S3-002",
        "acme-prod",
        "the program has buckets, and no public access block for the account",
        # A stack that names itself has nobody else to rely on; the harness calls the project gatehouse and the stack prod.
        without(estate.account(accountBaseline="gatehouse/prod"), "no-public-buckets"),
    ),
    *(
        broken("GH-ACC-001", "acme-prod", f"the program does not set up {words}", without(estate.account(), name))
        for name, words in {
            "recorder": "AWS Config (aws.cfg.Recorder)",
            "detector": "GuardDuty (aws.guardduty.Detector)",
            "hub": "Security Hub (aws.securityhub.Account)",
            "analyzer": "Access Analyzer (aws.accessanalyzer.Analyzer)",
            "disks": "encryption of new disks (aws.ebs.EncryptionByDefault)",
        }.items()
    ),
    broken("GH-ACC-001", "acme-prod", "enable is false in detector", changed(estate.account(), "detector", enable=False)),
    broken(
        "GH-COST-001",
        "acme-prod",
        "no budget tells anybody of FORECASTED cost",
        changed(
            estate.account(),
            "budget",
            notifications=[
                {"notificationType": "ACTUAL", "subscriberEmailAddresses": ["owner@example.com"]},
                {"notificationType": "FORECASTED", "subscriberEmailAddresses": []},
            ],
        ),
    ),
    broken("GH-COST-001", "acme-prod", "no anomaly monitor watches the cost", without(estate.account(), "anomalies")),
    broken(
        "GH-PUL-005",
        "acme-prod",
        "the output database.adminPassword seems to hold a secret",
        estate.account(database={"adminPassword": "correct horse"}),
    ),
    # --- Backups
    broken(
        "GH-BAK-001",
        "vault",
        "kmsKeyArn is not set, so the key is the one that AWS manages",
        changed(estate.backup(), "vault", kmsKeyArn=None),
    ),
    broken("GH-BAK-002", "vault", "no lock with minRetentionDays belongs to this vault", without(estate.backup(), "lock")),
    broken(
        "GH-BAK-002",
        "vault",
        "no policy of this vault denies backup:DeleteRecoveryPoint to everyone",
        without(estate.backup(), "vault-policy"),
    ),
    broken("GH-BAK-003", "plan", "no daily rule keeps backups for 35 days", plan(lifecycle={"deleteAfter": 7})),
    broken("GH-BAK-003", "plan", "no rule makes a backup every day", plan(schedule="cron(0 3 ? * SUN *)")),
    broken("GH-BAK-003", "plan", "no rule copies backups to another vault", plan(copyActions=None)),
    broken(
        "GH-BAK-004",
        "database",
        "no backup selection names this resource or a tag of it",
        without(programs.rds(), "selection"),
    ),
    broken(
        "GH-BAK-004",
        "files",
        "no backup selection names this resource or a tag of it",
        changed(programs.s3(), "selection", resources=["arn:aws:dynamodb:*:*:table/*"]),
    ),
    # --- API Gateway
    broken(
        "GH-API-001",
        "http-stage",
        "accessLogSettings.destinationArn is not set",
        changed(estate.api(), "http-stage", accessLogSettings=None),
    ),
    broken("GH-API-002", "route", "authorizationType is NONE", changed(estate.api(), "route", authorizationType=None)),
    broken("GH-API-002", "post", "authorization is NONE", changed(estate.api(), "post", authorization="NONE")),
    broken(
        "GH-API-003",
        "stage",
        "no web ACL is associated with this stage",
        without(estate.api(), "stage-firewall"),
    ),
    broken(
        "GH-API-003",
        "http",
        "no CloudFront distribution with a web ACL stands before this HTTP API",
        changed(estate.api(), "front", webAclId=None),
    ),
    broken(
        "GH-API-004",
        "http",
        "disableExecuteApiEndpoint is not true",
        changed(estate.api(), "http", disableExecuteApiEndpoint=None),
    ),
    broken(
        "GH-API-004",
        "domain",
        "securityPolicy accepts TLS below 1.2",
        changed(estate.api(), "domain", securityPolicy="TLS_1_0"),
        fix='set securityPolicy="TLS_1_2"',
    ),
    broken(
        "GH-API-005",
        "settings",
        "settings.dataTraceEnabled is true",
        changed(estate.api(), "settings", settings={"dataTraceEnabled": True, "throttlingRateLimit": 1}),
        fix="remove dataTraceEnabled",
    ),
    broken(
        "GH-API-005",
        "stage",
        "xrayTracingEnabled is not true",
        changed(estate.api(), "stage", xrayTracingEnabled=None),
        fix="set xrayTracingEnabled=True",
    ),
    # --- The audited bucket and the trail
    broken(
        "GH-S3-014",
        "files",
        "the bucket takes a trail, and no object lock with a default retention belongs to it",
        without(estate.audit(), "files-lock"),
    ),
    broken("GH-CT-006", "trail", "access to the trail's bucket files is not logged", unlogged()),
    broken(
        "GH-CT-006",
        "trail",
        "the policy of files lets CloudTrail write for anybody (no aws:SourceArn)",
        changed(
            estate.audit(),
            "files-policy",
            policy=document(*tls_only("acme-files"), estate.trail_writes(Condition={})),
        ),
    ),
    broken(
        "GH-CT-005",
        "trail",
        "no event selector records both reads and writes of S3 objects",
        changed(programs.watch(), "trail", advancedEventSelectors=[data_events(readOnly="false")]),
    ),
    broken(
        "GH-CW-004",
        "trail",
        "no metric filter finds use of the root user (CIS 5.3)",
        without(programs.watch(), "root-filter"),
    ),
    broken(
        "GH-CW-004",
        "trail",
        "no alarm tells of changes of VPCs (CIS 5.14)",
        without(programs.watch(), "vpcs-seen"),
    ),
    broken(
        "GH-CW-005",
        "database",
        "no alarm on AWS/RDS is about this resource",
        without(programs.rds(), "database-alarm"),
    ),
    broken(
        "GH-CW-005",
        "balancer",
        "no dashboard shows AWS/ApplicationELB",
        changed(programs.edge(), "board", dashboardBody="{}"),
    ),
    broken(
        "GH-CW-006",
        "task",
        "no data protection policy masks credentials in the log group gateway-logs",
        without(programs.ecs(), "gateway-logs-masking"),
    ),
    broken(
        "GH-CW-006",
        "task",
        "the data protection policy of the log group gateway-logs masks no credential",
        changed(programs.ecs(), "gateway-logs-masking", policyDocument=masking("Audit")),
        fix="add a Deidentify statement with a credential (AwsSecretKey, ...) or an identifier of your own",
    ),
    broken(
        "GH-CW-006",
        "task",
        "the data protection policy of the log group gateway-logs masks no credential",
        changed(programs.ecs(), "gateway-logs-masking", policyDocument=masking(identifier="EmailAddress")),
        fix="add a Deidentify statement with a credential (AwsSecretKey, ...) or an identifier of your own",
    ),
    broken("GH-SNS-001", "alarms", "kmsMasterKeyId is not set", changed(programs.watch(), "alarms", kmsMasterKeyId=None)),
    broken(
        "GH-SNS-001",
        "alarms",
        "no policy of this topic denies requests without TLS",
        without(programs.watch(), "alarms-policy"),
    ),
    broken(
        "GH-SNS-001",
        "alarms",
        'the topic policy allows to anyone ("*")',
        changed(programs.watch(), "alarms-policy", policy=topic_policy(ANYONE)),
        fix="name the principals, or add a condition on aws:SourceAccount or aws:SourceArn",
    ),
    # --- Functions
    broken(
        "GH-LAM-001",
        "rotate",
        "runtime gets no security fixes, or is not known here",
        changed(programs.watch(), "rotate", runtime="python3.8"),
    ),
    broken(
        "GH-LAM-002",
        "rotate",
        "vpcConfig.subnetIds names fewer than two subnets",
        changed(programs.watch(), "rotate", vpcConfig={"subnetIds": ["subnet-1"], "securityGroupIds": ["sg-1"]}),
    ),
    broken(
        "GH-LAM-002",
        "reader",
        "vpcConfig is not set, and the function reaches database",
        fed_by_the_database(),
    ),
    broken(
        "GH-LAM-005",
        "rotate",
        "tracingConfig.mode is not Active",
        changed(programs.watch(), "rotate", tracingConfig={"mode": "PassThrough"}),
    ),
    broken(
        "GH-LAM-005",
        "rotate",
        "failed calls go nowhere (deadLetterConfig is not set)",
        changed(programs.watch(), "rotate", deadLetterConfig=None),
    ),
]
