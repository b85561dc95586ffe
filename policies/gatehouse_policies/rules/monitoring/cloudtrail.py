"""Rules for CloudTrail trails."""

from functools import partial

from pulumi_local.type_tokens import aws

from gatehouse_policies.analysis.iam.strangers import access
from gatehouse_policies.analysis.policy_holders import resource_documents
from gatehouse_policies.analysis.properties import Properties
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.engine.requirements import is_not_false, is_set, is_true
from gatehouse_policies.engine.rule import CheckResults, resource_rule, stack_rule

_trail_rule = partial(resource_rule, types=aws("cloudtrail.Trail"))


trail_covers_all_regions = _trail_rule("GH-CT-001").requires(
    is_true("isMultiRegionTrail"),
    is_not_false("enableLogging"),
    is_not_false("includeGlobalServiceEvents"),
)


trail_uses_customer_key = _trail_rule("GH-CT-002").requires(is_set("kmsKeyId"))


log_file_validation_is_enabled = _trail_rule("GH-CT-003").requires(
    is_true("enableLogFileValidation")
)


@_trail_rule("GH-CT-005")
def object_events_are_recorded(trail: Resource) -> CheckResults:
    advanced = any(
        _records_objects(selector) for selector in trail.props.blocks("advancedEventSelectors")
    )
    if not advanced and not any(
        resource.text("type") == "AWS::S3::Object"
        and not _ALL_BUCKETS.isdisjoint(resource.texts("values"))
        for selector in trail.props.blocks("eventSelectors")
        if selector.text("readWriteType", "All") == "All"
        for resource in selector.blocks("dataResources")
    ):
        yield "no event selector records both reads and writes of S3 objects"


def _fields(selector: Properties) -> dict[str, list[str]]:
    return {
        field.text("field"): field.texts("equals") for field in selector.blocks("fieldSelectors")
    }


def _records_objects(selector: Properties) -> bool:
    fields = _fields(selector)
    return (
        not any(map(_limits_objects, selector.blocks("fieldSelectors")))
        and fields.get("eventCategory") == ["Data"]
        and "AWS::S3::Object" in fields.get("resources.type", [])
    )


_ALL_BUCKETS = frozenset({"arn:aws:s3", "arn:aws:s3:::"})


def _limits_objects(field: Properties) -> bool:
    """True for a selector of some events, or of some buckets. Some buckets may be excluded."""
    if field.text("field") != "resources.ARN":
        return field.text("field") not in ("eventCategory", "resources.type")
    included = [text for name in ("equals", "startsWith", "endsWith") for text in field.texts(name)]
    all_excluded = not _ALL_BUCKETS.isdisjoint(field.texts("notStartsWith"))
    return all_excluded or (bool(included) and _ALL_BUCKETS.isdisjoint(included))


@_trail_rule("GH-CT-007")
def management_events_are_recorded(trail: Resource) -> CheckResults:
    advanced = trail.props.blocks("advancedEventSelectors")
    basic = trail.props.blocks("eventSelectors")
    if not advanced and not basic:
        return  # A trail without event selectors records all management events.
    management = {"eventCategory": ["Management"]}
    if management not in map(_fields, advanced) and not any(map(_records_management_basic, basic)):
        yield "no event selector records both reads and writes of the management plane"


def _records_management_basic(selector: Properties) -> bool:
    events = (
        selector.flag("includeManagementEvents", True)
        and selector.text("readWriteType", "All") == "All"
    )
    return events and not selector.has("excludeManagementEventSources")


@stack_rule(
    "GH-CT-006",
    # GH-S3-001 and GH-S3-014 check that the bucket is private and locked.
    types=aws("cloudtrail.Trail"),
)
def trail_bucket_is_restricted(trail: Resource, stack: Stack) -> CheckResults:
    for bucket in stack.referenced_by(trail, "s3BucketName", aws("s3.Bucket")):
        if not stack.referencing(bucket, aws("s3.BucketLogging"), "bucket"):
            yield f"the bucket {bucket.name} of the trail has no access logging"
        for document in resource_documents(bucket, stack, aws("s3.BucketPolicy"), "bucket"):
            if "cloudtrail.amazonaws.com" in access(document).services:
                yield f"the policy of {bucket.name} allows CloudTrail without aws:SourceArn"
