"""The helper for tests of own rules."""

import pytest
from gatehouse_policies import catalogue
from gatehouse_policies.analysis.resources import Resource
from gatehouse_policies.engine.rule import CheckResults, resource_rule
from gatehouse_policies.testing import UNKNOWN, evaluate, resource

VERSIONING = catalogue.rule("GH-S3-007")


def test_reference_to_a_resource_is_found() -> None:
    bucket = resource("aws.s3.Bucket", "files")
    enabled = {"status": "Enabled"}
    versioning = resource(
        "aws.s3.BucketVersioning", "files", bucket=bucket, versioningConfiguration=enabled
    )
    assert evaluate(VERSIONING, bucket, versioning) == []
    other = resource("aws.s3.Bucket", "logs")
    assert evaluate(VERSIONING, other, versioning, bucket) == ["versioning is not enabled"]


def test_parameters_are_those_of_the_environment() -> None:
    rule = catalogue.rule("GH-RDS-003")
    inputs = {"deleteAutomatedBackups": False}
    database = resource("aws.rds.Instance", "db", **inputs, backupRetentionPeriod=14)
    assert evaluate(rule, database, env="dev") == []
    assert evaluate(rule, database) == ["backupRetentionPeriod is below 35"]
    unknown = resource("aws.rds.Instance", "db", **inputs, backupRetentionPeriod=UNKNOWN)
    assert evaluate(rule, unknown) == ["undecided: backupRetentionPeriod"]


def test_error_of_a_control_is_an_error_of_the_test() -> None:
    @resource_rule("X-1", title="t", remedy="r", types=("aws:sqs/queue:Queue",), url="u")
    def raises(queue: Resource) -> CheckResults:
        raise KeyError
        yield ""

    with pytest.raises(RuntimeError, match="X-1 raised KeyError for orders"):
        evaluate(raises, resource("aws.sqs.Queue", "orders"))
    with pytest.raises(RuntimeError, match="does not evaluate aws:sns/topic:Topic"):
        evaluate(raises, resource("aws.sns.Topic", "orders"))
