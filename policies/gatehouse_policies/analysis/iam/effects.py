"""Actions with which an identity extends its permissions, takes over others, exposes data or stops
monitoring, and how far statements allow them.

Sources, all read in November 2026: AWS service authorization reference (access level "Permissions
management"); Rhino Security Labs, "AWS IAM Privilege Escalation: Methods and Mitigation"; Checkov
CKV_AWS_286 to CKV_AWS_289 and the lists of Cloudsplaining; MITRE ATT&CK T1098, T1537, T1562.008.
"""

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from gatehouse_policies.analysis.iam.actions import (
    actions_of,
    is_narrowed,
    is_narrowing,
    is_service_wildcard,
    reaches_all_resources,
    reaches_everything,
    supports_resources,
    templates_of,
)
from gatehouse_policies.analysis.iam.grammar import Condition, Document, Statement, matches
from gatehouse_policies.analysis.iam.strangers import result_of


@dataclass(frozen=True)
class Effect:
    """What an identity can do with some actions.

    actions: pattern of their names, in lowercase. is_shared: True if a program may allow them on
    resources that its names begin with, such as `function:shop-*`; False if only on its own.
    """

    text: str
    remedy: str
    actions: re.Pattern[str]
    is_shared: bool = False


PERMISSIONS = Effect(
    "extend permissions",
    "name identities of the program, and require a boundary with iam:PermissionsBoundary or "
    "policies with iam:PolicyARN",
    re.compile(
        r"iam:((attach|delete|detach|put)(group|role|user)policy|createpolicyversion|setdefaultpolicyversion"
        r"|(put|delete)(role|user)permissionsboundary|addusertogroup"
        r"|(add|create|update)\w*(openidconnect|saml)provider\w*)"
        r"|sso:(attach\w+|put(inline|permission)\w+|createaccountassignment"
        r"|deletepermissionsboundary\w+)|identitystore:creategroupmembership"
        r"|organizations:((attach|delete|detach|update)policy|disablepolicytype|putresourcepolicy"
        r"|leaveorganization|(move|remove)account\w*|registerdelegatedadministrator)"
        r"|eks:((create|update)accessentry|associateaccesspolicy)|sts:assumeroot"
        r"|rolesanywhere:(create|enable|update)(trustanchor|profile)"
    ),
)
CREDENTIALS = Effect(
    "take over other identities",
    "name identities of the program, or use ${aws:username}",
    re.compile(
        r"iam:((create|update|reset|upload)(accesskey|loginprofile|servicespecificcredential"
        r"|sshpublickey|signingcertificate)|(deactivate|enable|resync)mfadevice"
        r"|deletevirtualmfadevice|updateassumerolepolicy)|(ds|workmail):reset(user)?password"
    ),
)
_MONITORING = Effect(
    "stop monitoring",
    "remove the actions, or name resources of the program",
    re.compile(
        r"(access-analyzer|cloudtrail|config|detective|guardduty|inspector2|macie2|securityhub"
        r"|securitylake):(batchdisable|delete|disable|disassociate|stop)\w*"
        r"|cloudtrail:(put(event|insight)selectors|update(trail|eventdatastore))"
        r"|guardduty:(create(filter|ipset|trustedentityset)|update(member)?detectors?)"
        r"|securityhub:update(standardscontrol|securitycontrol)|config:put(service\w+)?"
        r"configurationrecorder|macie2:updatemaciesession|access-analyzer:createarchiverule"
    ),
)
_ROLES = Effect(
    "assume roles", "name the account and the roles", re.compile(r"sts:assumerole"), True
)
_SHARED = (
    Effect(
        "stop monitoring",
        _MONITORING.remedy,
        re.compile(
            r"cloudwatch:(deletealarms|disablealarmactions)|ec2:deleteflowlogs"
            r"|events:(deleterule|disablerule|removetargets)|wafv2:deleteloggingconfiguration"
            r"|logs:delete(loggroup|logstream|subscriptionfilter|metricfilter)"
            r"|route53resolver:(delete|disassociate)resolverquerylogconfig"
        ),
        True,
    ),
    Effect(
        "run code as others",
        "name the workloads",
        re.compile(
            r"lambda:updatefunction(code|configuration)|ec2:modifyinstanceattribute"
            r"|ssm:(sendcommand|startsession|resumesession|startautomationexecution"
            r"|(create|update)association)|ecs:executecommand"
            r"|ec2-instance-connect:\w+|ec2:(associate|replace)iaminstanceprofile\w*"
            r"|codebuild:((start|retry)build(batch)?|updateproject)|glue:update(job|devendpoint)"
            r"|sagemaker:createpresigned\w+|states:updatestatemachine"
            r"|cloudformation:((create|execute)changeset|updatestack(set)?)"
            r"|datapipeline:putpipelinedefinition|elasticmapreduce:addjobflowsteps"
        ),
        True,
    ),
    Effect(
        "read secrets",
        "name the secrets",
        re.compile(r"secretsmanager:getsecretvalue|ssm:getparameter\w*|ec2:getpassworddata"),
        True,
    ),
)
_EXPOSURE = Effect(
    "share resources with others",
    "name the resources",
    re.compile(
        r"ec2:modifyimageattribute|lambda:(create|update)functionurlconfig"
        r"|rds:modifydb(cluster)?snapshotattribute|ram:(associate|create)resourceshare"
        r"|s3:putreplicationconfiguration|logs:put(destination|subscriptionfilter)"
    ),
    True,
)
_EFFECTS = (PERMISSIONS, CREDENTIALS, _MONITORING, _ROLES, *_SHARED, _EXPOSURE)
# Actions of the access level "Permissions management" that allow more.
_ALLOWING = re.compile(
    r"(?!iam|sso|waf)[\w-]+:(add|authorize|batchgrant|create|grant|modify|put|set|update)\w*"
    r"(access|(?<!web)acl|attributes?|controls|grants?|permissions?|policies|policy|publicaccess"
    r"block|share)"
)
# A Region narrows neither identities nor what is recorded.
_REGIONS = ("aws:requestedregion", "ec2:region")
_BOUNDARY, _POLICY = "iam:permissionsboundary", "iam:policyarn"
_REMOVES_BOUNDARY = re.compile(r"iam:Delete\w+PermissionsBoundary")
# Policies that, as a boundary or an attached policy, allow everything, or all of IAM.
_ADMINISTRATION = tuple(
    f"arn:aws:iam::aws:policy/{name}"
    for name in ("AdministratorAccess", "IAMFullAccess", "PowerUserAccess")
)
_ACCOUNT_KEYS = ("aws:resourceaccount", "aws:resourceorgid", "aws:resourceorgpaths")
_STEM_MIN = 3
"""Number of characters before the first wildcard of a name that make it a name of the program."""
SELF = "${aws:username}"
"""The name of the user who sends the request."""


@dataclass(frozen=True)
class Grant:
    """Actions that a document allows on more resources than a program has.

    actions: the actions with their effects, by their patterns in the statement. resources:
    patterns that are too wide unless they are the names of resources of the program; () for all
    resources.
    """

    actions: tuple[tuple[str, str, Effect], ...]
    resources: tuple[str, ...]

    @property
    def effects(self) -> tuple[Effect, ...]:
        return tuple(dict.fromkeys(effect for _, _, effect in self.actions))

    @property
    def patterns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(pattern for pattern, _, _ in self.actions))


@lru_cache(maxsize=1024)
def grants_of(document: Document) -> tuple[Grant, ...]:
    """The grants of a document.

    A condition that narrows the requests limits all actions; a boundary or the ARN of a policy only
    if it does not include the administration. Denials without another condition count.
    """
    grants: dict[tuple[str, ...], dict[tuple[str, str, Effect], None]] = {}
    for allow in document.allows:
        for pattern in allow.actions or ():
            for action, effect in _listed(pattern):
                resources = _resources(allow, action, effect)
                ignored = () if effect.is_shared else _REGIONS
                if resources is None or _is_limited(allow, action, document.denies, ignored):
                    continue
                if resources and is_service_wildcard(pattern):
                    continue  # GH-IAM-002 reports it on any resource.
                grants.setdefault(resources, {})[pattern, action, effect] = None
    return tuple(Grant(tuple(actions), resources) for resources, actions in grants.items())


def allows_action(boundary: Document, action: str) -> bool:
    """True if a permissions boundary allows an action without a condition that limits it."""
    return any(
        allow.covers_action(action) and not _is_limited(allow, action, boundary.denies)
        for allow in boundary.allows
    )


@lru_cache(maxsize=4096)
def _listed(pattern: str) -> tuple[tuple[str, Effect], ...]:
    """The actions with an effect that match a pattern of a statement, with their effects."""
    service, _, name = pattern.partition(":")
    service = service.lower()
    if not name or "*" in service:
        return ()
    details = actions_of(service)
    names = [f"{service}:{details[key]['name']}" for key in details if matches(key, name.lower())]
    effects = ((each, _effect(each)) for each in names or [pattern])
    return tuple((each, effect) for each, effect in effects if effect is not None)


def _effect(action: str) -> Effect | None:
    service, _, name = action.lower().partition(":")
    for effect in _EFFECTS:
        if effect.actions.fullmatch(f"{service}:{name}"):
            return effect
    level = actions_of(service).get(name, {}).get("accessLevel", "")
    is_allowing = "Permissions" in level and _ALLOWING.fullmatch(f"{service}:{name}")
    return _EXPOSURE if is_allowing else None


def _is_limited(
    allow: Statement, action: str, denies: tuple[Statement, ...], regions: tuple[str, ...] = ()
) -> bool:
    """True if conditions of the statement, or denials, limit the action. regions: ignored keys."""
    # The condition holds for the identities with the boundary that the action removes.
    removes = _REMOVES_BOUNDARY.fullmatch(action) is not None
    ignored, keys = ((_BOUNDARY, _POLICY), ()) if removes else ((), (_BOUNDARY, _POLICY))
    conditions = tuple(each for each in allow.conditions if not _includes_administration(each))
    if is_narrowed(replace(allow, conditions=conditions), *regions, *ignored):
        return True
    return any(
        deny.covers_action(action)
        and all(each.key in keys for each in deny.conditions)
        and all(
            any(matches(resource, pattern) for pattern in deny.resources or ())
            for resource in allow.resources or ("*",)
        )
        for deny in denies
    )


def _includes_administration(condition: Condition) -> bool:
    return condition.key in (_BOUNDARY, _POLICY) and any(
        result_of(condition, {condition.key: arn}) is not False for arn in _ADMINISTRATION
    )


def _resources(allow: Statement, action: str, effect: Effect) -> tuple[str, ...] | None:
    """The resources of the statement that are too wide for an action unless they are of the
    program; () for all resources, None if there are none.
    """
    if supports_resources(action):
        is_unlimited = reaches_all_resources(allow, action)
    elif effect.is_shared:
        return None  # AWS requires "*" for these actions.
    else:
        is_unlimited = reaches_everything(allow)
    if is_unlimited:
        return ()
    formats = templates_of(action)
    wide = tuple(
        pattern
        for pattern in allow.resources or ()
        if any(_is_wide(pattern, template, allow, effect) for template in formats)
    )
    return wide or None


def _is_wide(pattern: str, template: str, allow: Statement, effect: Effect) -> bool:
    """True if a pattern matches resources of the template, and too many for the effect."""
    name = _name_in(pattern, template)
    if name is None or (effect is CREDENTIALS and name == SELF):
        return False
    if not effect.is_shared:
        return True
    if effect is _ROLES and re.search("[*?]", "".join(pattern.split(":", 5)[4:5])):
        keys = (each.key for each in allow.conditions if is_narrowing(each))
        return not any(key in _ACCOUNT_KEYS for key in keys)
    stem = re.split(r"[*?]", name, maxsplit=1)[0]
    return name != stem and len(stem) < _STEM_MIN


def _name_in(pattern: str, template: str) -> str | None:
    """The names that a pattern matches, without the type of the resource; None if the pattern is
    for another type.
    """
    parts, (_, _, service, *_, resource) = pattern.split(":", 5), template.split(":", 5)
    if len(parts) < 6:
        return "*"
    kind, stem = resource.partition("${")[0], re.split("[*?]", parts[5], maxsplit=1)[0]
    if not matches(service, parts[2]) or not (stem.startswith(kind) or kind.startswith(stem)):
        return None
    return parts[5].removeprefix(kind) if stem.startswith(kind) else "*"
