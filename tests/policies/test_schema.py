"""Inputs of pulumi-aws with accounts, organizations, principals, policies, networks and code.

Rules read them by their values. A new version of pulumi-aws with other inputs fails a test until
they are classified here.
"""

import os
import re
from functools import cache

import pytest
from gatehouse_policies import catalogue
from gatehouse_policies.analysis.policy_holders import ATTACHED_POLICIES, is_document_input
from pulumi_local.lists import name_set

from tests.policies.provider_inputs import decided, inputs
from tests.policies.rules.builders import document

SOME = 1 if "GATEHOUSE_EXAMPLES" in os.environ else 7
"""Inputs between those with which `make test` evaluates further values."""


@cache
def texts() -> tuple[tuple[str, str], ...]:
    """The type and path of each text in the inputs of pulumi-aws, also in nested objects."""
    return tuple((each.token, each.path) for each in inputs() if each.kind == "str")


def reported(rule: str, token: str, path: str, value: object) -> bool:
    """True if the rule reports a resource with this value at a path, or is undecided."""
    decision = decided(catalogue.rule(rule), token, path, value)
    assert not decision.broken, (rule, token, path)
    return bool(decision.violations or decision.undecided)


def silent(rule: str, value: object, pattern: str = "", step: int = 1) -> set[tuple[str, str]]:
    """The inputs whose value a rule does not report. pattern: of their last names. step: evaluates
    only some inputs.
    """
    places = [(token, path) for token, path in texts() if re.search(pattern, path)][::step]
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
    first = {token: path for token, path in reversed(texts()) if "aws:iam/" not in token}
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
        for _, path in texts()
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
    named = {place for place in texts() if re.search("(?i)policyArns?$", place[1])}
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
        for token, path in texts()
        if re.search(r"(?i)cidr(block|ip|ipv[46])?s?$|ipranges?$|(^|\.)rules\.source$", path)
    }
    assert len(named) > 80
    assert {
        place
        for place in named
        if place[0] not in evaluated and not OTHER_NETWORKS.fullmatch(place[0])
    } == set()
