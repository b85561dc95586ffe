"""WAF web ACLs, their associations and logging."""

from typing import Any

from sandbox.emulator.request import CreateRequest
from sandbox.emulator.resource_type import ResourceType


def _response_bodies(request: CreateRequest) -> dict[str, Any]:
    bodies = {
        item["key"]: {"Content": item["content"], "ContentType": item["contentType"]}
        for item in request.take("customResponseBodies") or []
    }
    return {"CustomResponseBodies": bodies} if bodies else {}


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:wafv2/webAcl:WebAcl": ResourceType(
        call="wafv2.create_web_acl", id="{Id}", defaults={"rules": []}, prepare=_response_bodies
    ),
    "aws:wafv2/webAclAssociation:WebAclAssociation": ResourceType(call="wafv2.associate_web_acl", id="{webAclArn},{resourceArn}"),
    "aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration": ResourceType(
        call="wafv2.put_logging_configuration", id="{resourceArn}", body="LoggingConfiguration"
    ),
}
