"""Inputs of pulumi-aws with accounts, organizations, principals, policies, networks and code.

Rules read them by their values. A new version of pulumi-aws with other inputs fails a test until
they are classified here.
"""

import os
import re
from collections.abc import Iterator
from functools import cache

import pytest
from gatehouse_policies import catalogue
from gatehouse_policies.analysis.policy_holders import ATTACHED_POLICIES, is_document_input
from gatehouse_policies.analysis.properties import Properties
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.engine.guard import Decision, evaluate
from pulumi_local.lists import name_set

from tests.policies.rules.builders import document
from tests.policies.test_catalogue import classes, modules

DEPTH = 6
"""Nested objects, which can contain themselves, such as the statements of a web ACL."""
SOME = 1 if "GATEHOUSE_EXAMPLES" in os.environ else 7
"""Inputs between those with which `make test` evaluates further values."""
PROVIDER = Properties({"allowedAccountIds": '["123456789012"]'}, "provider")


@cache
def inputs() -> tuple[tuple[str, str], ...]:
    """The type and path of each text in the inputs of pulumi-aws, also in nested objects."""
    return tuple(place for module in modules() for place in texts_of(module))


@cache
def flags() -> tuple[tuple[str, str], ...]:
    """The type and path of each Boolean in the inputs of pulumi-aws."""
    return tuple(place for module in modules() for place in texts_of(module, "builtins.bool"))


def texts_of(
    module: list[tuple[str, str, str]], kind: str = "builtins.str"
) -> Iterator[tuple[str, str]]:
    blocks: dict[str, list[tuple[str, str]]] = {}
    for owner, name, hint in module:
        blocks.setdefault(owner, []).append((name, hint))

    def walk(owner: str, path: str, parents: frozenset[str]) -> Iterator[str]:
        for name, hint in blocks.get(owner, ()):
            nested = classes(hint) - parents if len(parents) < DEPTH else set[str]()
            for each in nested:
                yield from walk(each, f"{path}{name}.", parents | {each})
            if not nested and kind in hint:
                yield f"{path}{name}"

    for token in (owner for owner in blocks if ":" in owner):
        for path in walk(token, "", frozenset()):
            yield token, path


def reported(rule: str, token: str, path: str, value: object) -> bool:
    """True if the rule reports a resource with this value at a path, or is undecided."""
    decision = decided(rule, token, path, value)
    return bool(decision.violations or decision.undecided)


def decided(rule: str, token: str, path: str, value: object) -> Decision:
    for name in reversed(path.split(".")):
        value = {name: value}
    control = catalogue.rule(rule)
    resource = Resource(
        *("urn", token, "a", Properties(value)),
        provider=PROVIDER,
        lists={"accounts": (), **control.lists},
        settings=control.defaults("prod"),
    )
    decision = evaluate(control, resource, Stack([resource]))
    assert not decision.broken, (rule, token, path)
    return decision


def silent(rule: str, value: object, pattern: str = "", step: int = 1) -> set[tuple[str, str]]:
    """The inputs whose value a rule does not report. pattern: of their last names. step: evaluates
    only some inputs.
    """
    places = [(token, path) for token, path in inputs() if re.search(pattern, path)][::step]
    assert len(places) > 20
    return {place for place in places if not reported(rule, *place, value)}


# The program chooses the names in environments and tags, GH-LAM-004 evaluates permissions, and
# other inputs exclude accounts or verify the owner of a bucket.
NOT_SHARED = re.compile(
    r"(^|[.])(environment|variables|tags)|environment\w*[.]|exclu|expected\w*Owner", re.IGNORECASE
)
FOREIGN = {
    "account": "999999999999",
    "organization": "o-9z8y7x6w5v",
    "principal": "arn:aws:iam::999999999999:role/a",
    "member": "arn:aws:organizations::999999999999:organization/o-9z8y7x6w5v",
    "code": "arn:aws:lambda:eu-west-1:999999999999:layer:a:1",
    "image": "999999999999.dkr.ecr.eu-west-1.amazonaws.com/a:1",
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_every_input_with_a_foreign_account_is_reported(kind: str) -> None:
    unreported = silent("GH-PUL-006", FOREIGN[kind], step=1 if kind == "account" else SOME)
    assert {
        (token, path)
        for token, path in unreported
        if not NOT_SHARED.search(path) and "lambda/permission:" not in token
    } == set()


def test_every_principal_that_is_everyone_is_reported() -> None:
    unreported = silent("GH-IAM-011", "*", r"(?i)(principals?|grantee)$")
    assert {token for token, _ in unreported} <= {"aws:lambda/permission:Permission"}


PUBLIC = document({"Effect": "Allow", "Principal": "*", "Action": "s3:Get*", "Resource": "*"})
IDENTITY = document({"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::a/*"})
RULES = name_set(
    "GH-CW-007 GH-ECR-006 GH-IAM-004 GH-IAM-011 GH-KMS-002 GH-OS-005 GH-S3-012 GH-SM-004 "
    "GH-SNS-001 GH-SQS-002 GH-VPC-009"
)


def test_every_public_policy_is_reported() -> None:
    unreported = silent("GH-IAM-011", PUBLIC)
    for rule in RULES - {"GH-IAM-011"}:
        types = catalogue.rule(rule).types
        places = {(token, path) for token, path in unreported if token in types}
        unreported -= {place for place in places if reported(rule, *place, PUBLIC)}
    # A policy in another input of these types is not that of the resource, access points can be
    # limited to a VPC, and the authorizers of an API are in the same document.
    evaluated = {type_ for rule in RULES for type_ in catalogue.rule(rule).types}
    assert {(token, path) for token, path in unreported if token not in evaluated} == {
        ("aws:apigateway/restApi:RestApi", "body"),
        ("aws:s3/accessPoint:AccessPoint", "vpcConfiguration.vpcId"),
    }


def test_every_policy_of_an_identity_is_reported() -> None:
    first = {token: path for token, path in reversed(inputs()) if "aws:iam/" not in token}
    assert {
        token for token, path in first.items() if not reported("GH-IAM-002", token, path, IDENTITY)
    } == {
        token
        for token in first
        if re.match("aws:(organizations|ssoadmin)/|aws:ec2/vpcEndpoint", token)
    }


# Inputs with the names of policies that are other documents, modes or names.
OTHER_POLICIES = name_set(
    "actionFailurePolicy alpnPolicy archivePolicy autoImportPolicy autoscalingPolicy "
    "browserPolicy contentSecurityPolicy dataDeletionPolicy defaultPolicy "
    "deletePropagationPolicy deliveryPolicy dnsPolicy dnsRecordClientRoutingPolicy "
    "excessCapacityTerminationPolicy filterPolicy gameServerProtectionPolicy httpsPolicy "
    "imagePullPolicy languageSelectionPolicy lifecyclePolicy newGameSessionProtectionPolicy "
    "notificationPolicy originProtocolPolicy paddingPolicy permissionPolicy protocolPolicy "
    "redriveAllowPolicy redrivePolicy referrerPolicy replayPolicy routingPolicy securityPolicy "
    "sizingPolicy snapshotPolicy sslPolicy streamExceptionPolicy terminationPolicies tlsPolicy "
    "tlsSecurityPolicy userContextPolicy viewerProtocolPolicy webAppEndpointPolicy"
)


def test_every_input_with_the_name_of_a_policy_is_classified() -> None:
    names = {
        path.rpartition(".")[2]
        for _, path in inputs()
        if re.search("(?i)polic(y|ies)(document)?$", path) and not is_document_input("", path)
    }
    assert names == OTHER_POLICIES


# Types whose policies limit a session or a boundary, those of users, which GH-IAM-006 reports, and
# policies that are not of IAM.
OTHER_ARNS = re.compile(
    r"aws:(batch|budgets|chatbot|emr|iam/user|networkfirewall|quicksight|resiliencehub|rolesanywhere"
    r"|ssoadmin/permissionsBoundary).*"
)


def test_every_input_with_the_arn_of_a_policy_is_classified() -> None:
    named = {place for place in inputs() if re.search("(?i)policyArns?$", place[1])}
    assert named >= ATTACHED_POLICIES.items()
    others = {token for token, _ in named - ATTACHED_POLICIES.items()}
    assert {token for token in others if not OTHER_ARNS.fullmatch(token)} == set()


# Inputs with the names of networks: addresses of networks themselves, destinations, routes, filters
# of findings, networks of a group policy, and the ports of games for players.
OTHER_NETWORKS = re.compile(
    r"aws:(chime/voice|ec2/(\w*[vV]pc|\w*[rR]outeTable|\w*[sS]ubnet|managedPrefix|networkInterface"
    r"|route|secondary|localGateway|trafficMirror|vpn)|ec2clientvpn/|ec2transitgateway/|eks/|finspace/"
    r"|fms/|gamelift/fleet|globalaccelerator/|dms/|directoryservice/|networkmanager/|odb/|mongo|rds/"
    r"|redshift/|route53/cidr|securityhub/|ses/receiptFilter|connect/|quicksight/|verifiedaccess/|elasticache/|grafana/).*"
)


def test_every_input_with_networks_is_classified() -> None:
    rules = ("GH-VPC-004", "GH-VPC-005", "GH-VPC-007", "GH-VPC-013")
    evaluated = {type_ for rule in rules for type_ in catalogue.rule(rule).types}
    named = {
        (token, path)
        for token, path in inputs()
        if re.search(r"(?i)cidr(block|ip|ipv[46])?s?$|ipranges?$|(^|\.)rules\.source$", path)
    }
    assert len(named) > 80
    assert {
        place
        for place in named
        if place[0] not in evaluated and not OTHER_NETWORKS.fullmatch(place[0])
    } == set()


# Inputs with words of protections that are names of methods, or that disable nothing.
OTHER_PROTECTIONS = name_set(
    "blockedEncryptionTypes clientCertificateTlsAuth debugLogDeliveryAccounts "
    "enableDebugLogDelivery enableMinimumEncryptionConfiguration enableTlsSessionHolding "
    "enableTlsVersionAndCipherSuiteHeaders encrypt encryptPassword encryptedLogGroupStrategy "
    "encryptionConflictResolutionStrategy encryptionContextEquals encryptionContextSubset "
    "encryptionKeyProvider encryptionOption encryptionScope encryptionStrategy "
    "encryptionSupport insecureValue "
    "kmsEncrypted sslPolicy sslSecurityProtocol sslSupportMethod tlsPolicy "
    "tlsSessionResumptionMode transitEncryptionMode"
)
PROTECTIONS = re.compile(
    r"^(ssl|tls)|Ssl|Tls|(?i:encrypt|insecure|unauthenticated|debug|signingDis|certificateExpiry)"
)
# Keys, certificates and headers.
_NAMES = re.compile(r"(Arn|Id|Name|Key|Context|Algorithms?|Certificate|Role)$")


def test_every_input_that_can_disable_a_protection_is_reported_once() -> None:
    found: dict[str, set[str]] = {}
    for places, values in ((flags(), (True, False)), (inputs(), ("none", "allow"))):
        for token, path in places:
            name = path.rpartition(".")[2]
            if PROTECTIONS.search(name) and not _NAMES.search(name):
                rules = {
                    rule.id
                    for rule in catalogue.RULES
                    if not rule.types or token in rule.types
                    for value in values
                    for violation in decided(rule.id, token, path, value).violations
                    if name in violation.message
                }
                assert len(rules) <= 1, (token, path, rules)
                found.setdefault(name, set()).update(rules)
    assert len(found) > 60
    assert {name for name, rules in found.items() if not rules} == OTHER_PROTECTIONS
