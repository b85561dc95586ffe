"""WAF web ACLs, their associations and logging."""

from typing import Any

from sandbox.emulator.request import Created, CreateRequest
from sandbox.emulator.resource_type import ResourceType


def _set_response_bodies(request: CreateRequest, parameters: dict[str, Any]) -> None:
    bodies = request.take("customResponseBodies")
    if bodies:
        parameters["CustomResponseBodies"] = {
            item["key"]: {"Content": item["content"], "ContentType": item["contentType"]} for item in bodies
        }
    parameters.setdefault("Rules", [])


def _associate_web_acl(request: CreateRequest) -> Created:
    acl, resource = request.take("webAclArn"), request.take("resourceArn")
    request.call("wafv2.associate_web_acl", WebACLArn=acl, ResourceArn=resource)
    return f"{acl},{resource}", {}


def _put_logging_configuration(request: CreateRequest) -> Created:
    value = request.take_all("resourceArn", "logDestinationConfigs", "redactedFields", "loggingFilter")
    body = request.part("wafv2.put_logging_configuration", "LoggingConfiguration", value)
    request.call("wafv2.put_logging_configuration", LoggingConfiguration=body)
    return str(value["resourceArn"]), {}


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:wafv2/webAcl:WebAcl": ResourceType(
        call="wafv2.create_web_acl",
        result="Summary",
        id="{Id}",
        prepare=_set_response_bodies,
        handled=("customResponseBodies",),
        outputs={"arn": "{ARN}"},
    ),
    "aws:wafv2/webAclAssociation:WebAclAssociation": ResourceType(create=_associate_web_acl),
    "aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration": ResourceType(create=_put_logging_configuration),
}
