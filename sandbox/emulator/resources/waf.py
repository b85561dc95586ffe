"""WAF: web ACLs, what they guard and where they log."""

from typing import Any

from sandbox.emulator.request import Make
from sandbox.emulator.resource_type import Row


def _web_acl(make: Make, parameters: dict[str, Any]) -> None:
    bodies = make.take("customResponseBodies")
    if bodies:
        parameters["CustomResponseBodies"] = {
            item["key"]: {"Content": item["content"], "ContentType": item["contentType"]} for item in bodies
        }
    parameters.setdefault("Rules", [])


def _association(make: Make) -> tuple[str, dict[str, Any]]:
    acl, resource = make.take("webAclArn"), make.take("resourceArn")
    make.call("wafv2.associate_web_acl", WebACLArn=acl, ResourceArn=resource)
    return f"{acl},{resource}", {}


def _acl_logging(make: Make) -> tuple[str, dict[str, Any]]:
    value = {
        name: make.peek(name)
        for name in ("resourceArn", "logDestinationConfigs", "redactedFields", "loggingFilter")
        if make.take(name) is not None
    }
    body = make.part("wafv2.put_logging_configuration", "LoggingConfiguration", value)
    make.call("wafv2.put_logging_configuration", LoggingConfiguration=body)
    return str(value["resourceArn"]), {}


ROWS: dict[str, Row] = {
    "aws:wafv2/webAcl:WebAcl": Row(
        call="wafv2.create_web_acl",
        reply="Summary",
        id="{Id}",
        shape=_web_acl,
        by_hand=("customResponseBodies",),
        outputs={"arn": "{ARN}"},
    ),
    "aws:wafv2/webAclAssociation:WebAclAssociation": Row(make=_association),
    "aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration": Row(make=_acl_logging),
}
