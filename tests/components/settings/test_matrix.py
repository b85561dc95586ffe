"""What holds with every value of every setting: rights and network paths. Each program has some
values, and together they have each value.
"""

import json
import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from ipaddress import IPv4Network
from itertools import product
from pathlib import Path
from typing import Any
from zlib import crc32

from gatehouse_policies.analysis.iam.grammar import parse as parse_policy
from pulumi_local.types import Registration
from pydantic import BeforeValidator

from components.context import Stack
from components.delivery.policies import attached_policies, boundary, policies
from components.delivery.scope import GLOBAL_REGION, Delivery
from components.iam.documents import Document
from components.naming import DEPLOY, PREVIEW, WEB_UI_BUCKET, Naming
from components.network.network_acls import inbound_rules, outbound_rules
from components.network.security_groups import connections
from components.settings.account import AccountSettings
from components.settings.fields import Allowed, Section
from components.settings.loader import SettingsError, parse
from components.settings.model import Settings
from tests.components.program import (
    CLOSED,
    CLOUDFRONT,
    COMPANY,
    CONSOLE_NETWORKS,
    OPTIONS,
    POLICY_CHARACTERS_MAX,
    RECOVERY,
    RESTORED,
    Program,
    run,
    run_account,
)
from tests.components.settings.setting_reads import keys, recorded_reads
from tests.components.settings.stack_settings import raw_account_settings, raw_settings
from tests.iam_evaluation import Call, decide

Value = tuple[str, Any]


def actions(text: str) -> list[str]:
    service, found = "", []
    for word in text.split():
        service, _, name = word.rpartition(":") if ":" in word else (service, ":", word)
        found.append(f"{service}:{name}")
    return found


PIPELINE = {
    "delivery": {
        "repository": "example/gatehouse",
        "state_bucket": "gatehouse-state",
        "state_key_arn": f"arn:aws:kms:eu-west-1:123456789012:key/mrk-{'0' * 32}",
        "owner_id": "1",
        "repository_id": "2",
    }
}
NETWORKS = {"waf.console_networks": CONSOLE_NETWORKS}
FORMS: list[tuple[str, dict[str, Any]]] = [
    ("dev", OPTIONS | NETWORKS),
    ("staging", CLOUDFRONT | NETWORKS),
    ("prod", RECOVERY),
    ("dev", CLOSED),
    ("dev", COMPANY),
    ("prod", RESTORED),
]
TIERS = {"edge": "edge", "database": "data", "cache": "data"}
"""Tier of a security group, by default `app`."""
ROWS = 8
"""Maximum number of programs."""
CLIENT_PORT = 49152
OUTPUT = "arn:aws:mock:::"
ACTIONS = Path(__file__).with_name("provider_actions.toml")
READS = re.compile(r"[\w-]+:(Describe|Get|GET|List|View)")
GLOBAL_SERVICES = ("budgets", "cloudfront", "iam", "route53")
"""Modules of the provider whose API is in GLOBAL_REGION."""
REST_API_PATHS = {
    "account": "account",
    "basePathMapping": "domainnames/{domainName}/basepathmappings/y",
    "deployment": "restapis/x/deployments/y",
    "domainName": "domainnames/{domainName}",
    "integration": "restapis/x/resources/y/methods/GET/integration",
    "method": "restapis/x/resources/y/methods/GET",
    "methodSettings": "restapis/x/stages/live",
    "model": "restapis/x/models/y",
    "requestValidator": "restapis/x/requestvalidators/y",
    "resource": "restapis/x/resources/y",
    "response": "restapis/x/gatewayresponses/y",
    "restApi": "restapis/x",
    "stage": "restapis/x/stages/live",
}
"""Path in the ARN of what the provider reads for each type (API Gateway Developer Guide, "ARN
reference")."""
ADMINISTRATOR = frozenset(
    actions(
        # Roles and policies of the pipeline.
        "iam:AddClientIDToOpenIDConnectProvider CreateOpenIDConnectProvider CreatePolicy "
        "DeleteOpenIDConnectProvider DeletePolicy RemoveClientIDFromOpenIDConnectProvider "
        "UpdateOpenIDConnectProviderThumbprint "
        # CloudTrail, the alarm topic, locks and policies of the vaults, the Slack channel, and
        # exclusions from VPC Block Public Access.
        "cloudtrail:CreateTrail DeleteTrail PutEventSelectors StartLogging UpdateTrail "
        "sns:CreateTopic DeleteTopic SetTopicAttributes Subscribe Unsubscribe "
        "backup:DeleteBackupVaultAccessPolicy DeleteBackupVaultLockConfiguration "
        "DeleteBackupVaultNotifications PutBackupVaultAccessPolicy "
        "PutBackupVaultLockConfiguration PutBackupVaultNotifications "
        "chatbot:CreateSlackChannelConfiguration DeleteSlackChannelConfiguration "
        "UpdateSlackChannelConfiguration "
        "ec2:CreateVpcBlockPublicAccessExclusion DeleteVpcBlockPublicAccessExclusion "
        "ModifyVpcBlockPublicAccessExclusion "
        # Replication of the backups of the database (recovery.stack).
        "rds:StartDBInstanceAutomatedBackupsReplication "
        "StopDBInstanceAutomatedBackupsReplication "
        # Deletion of data.
        "kms:ScheduleKeyDeletion rds:DeleteDBInstance dynamodb:DeleteTable s3:DeleteBucket "
        "DeleteBucketPolicy secretsmanager:DeleteResourcePolicy DeleteSecret "
        "backup:DeleteBackupVault logs:DeleteDataProtectionPolicy DeleteLogGroup "
        "ecr:DeleteLifecyclePolicy DeleteRepository DeleteRepositoryPolicy "
        "route53:DeleteHostedZone"
    )
)
"""Actions of the provider that AWS denies to the deploy role (docs/guides/deploy.md, section 6)."""


def values(section: type[Section], path: str = "") -> Iterator[Value]:
    """Every value of flags and enumerations. Of numbers, 0, which switches a part off, and the
    greatest.
    """
    for name, field in section.model_fields.items():
        key = f"{path}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from values(field.annotation, f"{key}.")
            continue
        checks = [
            item.func
            for item in field.metadata
            if isinstance(item, BeforeValidator) and isinstance(item.func, Allowed)
        ]
        if field.annotation is bool:
            yield from ((key, True), (key, False))
        for check in checks[:1]:
            words = check.words.split(", ")
            texts = [word for word in words if check.accepts(word) and " " not in word]
            numbers = [int(word) for word in words if word.isdigit() and check.accepts(int(word))]
            ends = (numbers[0], numbers[-1]) if 0 in numbers else ()
            yield from ((key, value) for value in (*texts, *ends))


def accepted(stack: str, changes: dict[str, Any]) -> bool:
    try:
        parse(raw_settings(stack, changes), stack)
    except SettingsError:
        return False
    return True


def matrix() -> list[tuple[str, dict[str, Any]]]:
    missing = list(dict.fromkeys(values(Settings)))
    everything = list(missing)
    rows: list[tuple[str, dict[str, Any]]] = []
    while missing:
        stack, form = FORMS[len(rows) % len(FORMS)]
        changes, assigned = {**form, **PIPELINE}, set[str]()
        # The settings whose values all occur change with the others.
        others = sorted(everything, key=lambda value: crc32(f"{len(rows)}{value}".encode()))
        for key, value in (*missing, *others):
            if key not in assigned and accepted(stack, {**changes, key: value}):
                changes[key] = value
                assigned.add(key)
                if (key, value) in missing:
                    missing.remove((key, value))
        rows.append((stack, changes))
        assert len(rows) <= ROWS, f"no stack accepts {missing}"
    return rows


def trusted_sources(program: Program, stack: Stack) -> Iterator[str]:
    for instance in program.of_type("rds.Instance"):
        role = str(instance.inputs.get("monitoringRoleArn", "")).removeprefix(OUTPUT)
        if role:
            trust = json.loads(program.get("iam.Role", role).inputs["assumeRolePolicy"])
            arn = stack.names.arn("rds", f"db:{instance.inputs['identifier']}")
            context = {"aws:SourceArn": arn, "aws:SourceAccount": "123456789012"}
            call = Call("monitoring.rds.amazonaws.com", "sts:AssumeRole", context=context)
            if not decide(call, resource=trust, resource_decides=True).allowed:
                yield f"{role} for {arn}"


def rejected_connections(stack: Stack) -> Iterator[str]:
    settings = stack.settings
    if not settings.network.owns_subnets:
        return  # the network ACLs are those of the owner
    for connection in connections(settings, stack.contract):
        if connection.source not in ("", "cloudfront"):
            source = TIERS.get(connection.source, "app")
        else:
            source = ""
        target = TIERS.get(connection.target, "app") if connection.target else ""
        near = settings.network.tier_cidrs(source) if source else ["0.0.0.0/0"]
        far = settings.network.tier_cidrs(target) if target else [connection.cidr or "0.0.0.0/0"]
        port = connection.port
        paths = [
            *((outbound_rules(source, settings), cidr, port) for cidr in far if source),
            *((inbound_rules(source, settings), cidr, CLIENT_PORT) for cidr in far if source),
            *((inbound_rules(target, settings), cidr, port) for cidr in near if target),
            *((outbound_rules(target, settings), cidr, CLIENT_PORT) for cidr in near if target),
        ]
        for rules, cidr, number in paths:
            matching = (
                rule.action
                for rule in rules
                if IPv4Network(cidr).subnet_of(IPv4Network(rule.cidr))
                and rule.from_port <= number <= rule.to_port
            )
            if next(matching, "deny") != "allow":
                yield f"{connection.description}: {cidr} port {number}"


def unreadable_environments(program: Program, stack: Stack) -> Iterator[str]:
    """The roles that cannot read the environment of a function which they start or preview."""
    # With a boundary of the company, the pipeline has the same limits or others.
    limit: Document = boundary(Delivery(stack))
    for function in program.of_type("lambda.Function"):
        inputs = function.inputs
        if "kmsKeyArn" not in inputs or "environment" not in inputs:
            continue
        policy = program.policy("kms.Key", inputs["kmsKeyArn"].removeprefix(OUTPUT))
        arn = stack.names.arn("lambda", f"function:{inputs['name']}")
        role = program.get("iam.Role", inputs["role"].removeprefix(OUTPUT)).inputs["name"]
        readers = (
            (role, []),
            *((stack.names.name(reader), [limit]) for reader in (PREVIEW, DEPLOY)),
        )
        # AWS does not document whether the ARN of a published version contains its number.
        for context, (name, limits) in product((arn, f"{arn}:1"), readers):
            caller = f"arn:aws:iam::{stack.names.account}:role{stack.names.role_path}{name}"
            keys = {
                "kms:CallerAccount": stack.names.account,
                "kms:EncryptionContext:aws:lambda:FunctionArn": context,
            }
            call = Call(caller, "kms:Decrypt", stack.names.arn("kms", "key/x"), keys)
            if not decide(call, resource=policy, limits=limits, resource_decides=True).allowed:
                yield f"{name} for {context}"


def called_actions(program: Program) -> Iterator[tuple[str, Registration]]:
    """The actions of the calls with which the provider reads and changes each resource."""
    texts: dict[str, str] = tomllib.loads(ACTIONS.read_text())
    for resource in program.resources:
        package, kind, _ = resource.type.split(":")
        if package == "aws":
            module = kind.partition("/")[0]
            for action in actions(texts.get(kind) or texts[f"{module}/*"]):
                yield action, resource


def read_arn(action: str, type_: str, inputs: dict[str, Any], names: Naming) -> str:
    """The ARN that AWS compares with the policies in a read, or "*" for actions that the policies
    do not limit to resources.
    """
    service = action.partition(":")[0]
    if service == "lambda":
        function = inputs.get("functionName") or inputs.get("function") or inputs["name"]
        return names.arn("lambda", f"function:{function}")
    if action == "s3:ListBucket":
        return names.s3_arn(inputs["bucket"])
    if service == "apigateway":
        path = REST_API_PATHS[type_.split(":")[1].partition("/")[2]]
        return names.any_arn("apigateway", f"/{path.format(**inputs)}", names.region, "")
    return "*"


def unreadable_resources(program: Program, delivery: Delivery) -> Iterator[str]:
    """The calls of `pulumi preview --refresh` that AWS denies to a role of the pipeline."""
    documents, limits = policies(delivery), [boundary(delivery)]
    web_ui = f"{delivery.names.bucket_arn(WEB_UI_BUCKET)}/index.html"
    calls = set()
    for action, resource in called_actions(program):
        module = resource.type.split(":")[1].partition("/")[0]
        home = GLOBAL_REGION if module in GLOBAL_SERVICES else delivery.names.region
        region = resource.inputs.get("region", home)
        if READS.match(action):
            target = read_arn(action, resource.type, resource.inputs, delivery.names)
            if resource.type == "aws:s3/bucketObjectv2:BucketObjectv2":
                target = web_ui
            calls.add((action, target, region))
    for role in (PREVIEW, DEPLOY):
        identity = [documents[name] for name in attached_policies(role, documents)]
        for action, target, region in sorted(calls):
            context = {"aws:RequestedRegion": region}
            call = Call(delivery.names.role_arn(role), action, target, context)
            if not decide(call, identity=identity, limits=limits).allowed:
                yield f"{role}: {action} on {target} in {region}"


def unchangeable_resources(program: Program, delivery: Delivery) -> set[str]:
    documents = policies(delivery)
    granted = [
        statement
        for name in attached_policies(DEPLOY, documents)
        for statement in parse_policy(documents[name]).statements
        if statement.allow
    ]
    called = {action for action, _ in called_actions(program)}
    return {action for action in called if not any(row.covers_action(action) for row in granted)}


def oversized_policies(program: Program) -> Iterator[str]:
    for policy in program.of_type("iam.Policy"):
        if len(policy.inputs["policy"]) > POLICY_CHARACTERS_MAX:
            yield f"{policy.name}: {len(policy.inputs['policy'])} characters"


def key_errors(program: Program) -> Iterator[str]:
    statement = program.statements("kms.Key", "logs")["LogGroups"]
    arns = statement["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"]
    groups = [group.inputs for group in program.of_type("cloudwatch.LogGroup")]
    assert {group["kmsKeyId"] for group in groups} == {f"{OUTPUT}logs"}
    names = {group["name"] for group in groups}
    patterns = [arn.split(":log-group:")[1] for arn in arns]
    yield from (name for name in names if not any(fnmatchcase(name, one) for one in patterns))


@cache
def programs() -> tuple[list[tuple[str, dict[str, Any], Program]], set[str]]:
    """The programs of the matrix, and the settings that they read."""
    rows = matrix()
    with recorded_reads() as reads:
        return [(name, changes, run(name, changes=changes)) for name, changes in rows], reads


def test_resources_have_the_rights_and_paths_that_they_need() -> None:
    rows, _ = programs()
    assert len(rows) >= len(FORMS)
    denied = set[str]()
    for name, changes, program in rows:
        stack = Stack.of(parse(raw_settings(name, changes), name))
        denied |= unchangeable_resources(program, Delivery(stack))
        problems = [
            *key_errors(program),
            *oversized_policies(program),
            *trusted_sources(program, stack),
            *rejected_connections(stack),
            *unreadable_environments(program, stack),
            *unreadable_resources(program, Delivery(stack)),
        ]
        assert problems == [], (name, changes)
    assert denied == ADMINISTRATOR


def test_program_reads_every_setting() -> None:
    _, reads = programs()
    # The loader reads the profile, which determines defaults.
    assert set(keys(Settings)) - reads == {"profile"}, "no component reads these settings"


def test_program_of_the_account_reads_every_setting_except_those_of_make_bootstrap() -> None:
    changes = {"budget": {"monthly_usd": 100, "anomaly_usd": 50, "emails": ["a@example.com"]}}
    settings = json.dumps(raw_account_settings(changes, guards=True))
    with recorded_reads() as reads:
        run_account.__wrapped__(settings)
    assert set(keys(AccountSettings)) - reads == {"state_bucket"}
