"""CloudTrail trails."""

from typing import Any

from sandbox.emulator.request import CreateRequest
from sandbox.emulator.resource_type import ResourceType


def _configure_trail(request: CreateRequest, trail: dict[str, Any]) -> dict[str, Any]:
    """Set the selectors and start logging; these are calls of their own."""
    arn = trail["TrailARN"]
    if request.take("enableLogging") is not False:
        request.call("cloudtrail.start_logging", Name=arn)
    for operation in ("cloudtrail.put_event_selectors", "cloudtrail.put_insight_selectors"):
        if selectors := request.parameters(operation):
            request.call(operation, selectors, TrailName=arn)
    return {"homeRegion": request.region}


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:cloudtrail/trail:Trail": ResourceType(
        call="cloudtrail.create_trail",
        id="{TrailARN}",
        names={"cloudWatchLogsGroupArn": "CloudWatchLogsLogGroupArn"},
        finish=_configure_trail,
    ),
}
