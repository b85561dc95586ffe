"""CloudTrail trails."""

from typing import Any

from sandbox.emulator.request import CreateRequest
from sandbox.emulator.resource_type import ResourceType


def _configure_trail(request: CreateRequest, trail: dict[str, Any]) -> dict[str, Any]:
    """Set the event selectors and start logging; both are calls of their own."""
    if request.take("enableLogging") is not False:
        request.call("cloudtrail.start_logging", Name=trail["TrailARN"])
    body: dict[str, Any] = {}
    simple, advanced = request.take("eventSelectors"), request.take("advancedEventSelectors")
    if simple:
        body["EventSelectors"] = request.part("cloudtrail.put_event_selectors", "EventSelectors", simple)
    if advanced:
        body["AdvancedEventSelectors"] = request.part("cloudtrail.put_event_selectors", "AdvancedEventSelectors", advanced)
    if body:
        request.call("cloudtrail.put_event_selectors", body, TrailName=trail["TrailARN"])
    insights = request.take("insightSelectors")
    if insights:
        selectors = request.part("cloudtrail.put_insight_selectors", "InsightSelectors", insights)
        request.call("cloudtrail.put_insight_selectors", TrailName=trail["TrailARN"], InsightSelectors=selectors)
    return {"arn": trail["TrailARN"], "homeRegion": request.region}


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:cloudtrail/trail:Trail": ResourceType(
        call="cloudtrail.create_trail",
        id="{TrailARN}",
        finish=_configure_trail,
        names={"cloudWatchLogsGroupArn": "CloudWatchLogsLogGroupArn"},
        handled=("enableLogging", "eventSelectors", "advancedEventSelectors", "insightSelectors"),
    ),
}
