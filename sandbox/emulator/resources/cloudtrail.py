"""CloudTrail."""

from typing import Any

from sandbox.emulator.request import Make
from sandbox.emulator.resource_type import Row


def _selectors(make: Make, trail: dict[str, Any]) -> dict[str, Any]:
    """A trail records only after StartLogging; what it records is set apart from it."""
    if make.take("enableLogging") is not False:
        make.call("cloudtrail.start_logging", Name=trail["TrailARN"])
    body: dict[str, Any] = {}
    simple, advanced = make.take("eventSelectors"), make.take("advancedEventSelectors")
    if simple:
        body["EventSelectors"] = make.part("cloudtrail.put_event_selectors", "EventSelectors", simple)
    if advanced:
        body["AdvancedEventSelectors"] = make.part("cloudtrail.put_event_selectors", "AdvancedEventSelectors", advanced)
    if body:
        make.call("cloudtrail.put_event_selectors", body, TrailName=trail["TrailARN"])
    insights = make.take("insightSelectors")
    if insights:
        selectors = make.part("cloudtrail.put_insight_selectors", "InsightSelectors", insights)
        make.call("cloudtrail.put_insight_selectors", TrailName=trail["TrailARN"], InsightSelectors=selectors)
    return {"arn": trail["TrailARN"], "homeRegion": make.region}


ROWS: dict[str, Row] = {
    "aws:cloudtrail/trail:Trail": Row(
        call="cloudtrail.create_trail",
        id="{TrailARN}",
        then=_selectors,
        names={"cloudWatchLogsGroupArn": "CloudWatchLogsLogGroupArn"},
        by_hand=("enableLogging", "eventSelectors", "advancedEventSelectors", "insightSelectors"),
    ),
}
