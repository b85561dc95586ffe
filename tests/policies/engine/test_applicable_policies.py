"""Only the policies for the types of a request receive it."""

from collections.abc import Callable, Iterable
from typing import Any

import pulumi_policy.policy
import pytest
from gatehouse_policies.engine import applicable_policies
from gatehouse_policies.engine.applicable_policies import ApplicablePolicies, StackPolicy
from pulumi.runtime.proto import analyzer_pb2
from pulumi_policy import EnforcementLevel, Policy, ResourceValidationPolicy

BUCKET, TOPIC = "aws:s3/bucket:Bucket", "aws:sns/topic:Topic"
TYPES = {
    "bucket": (BUCKET,),
    "topic": (TOPIC,),
    "both": (BUCKET, TOPIC),
    "every": (),
    "buckets": (BUCKET,),
    "topics": (TOPIC,),
}


class Calls:
    def __init__(self, *names: str) -> None:
        applicable_policies.install()
        self.names: list[str] = []
        self.recorded: dict[str, list[str]] = {}
        policies = [self._policy(name) for name in names]
        sdk: Any = pulumi_policy.policy
        self.servicer = sdk._PolicyAnalyzerServicer(
            "tests",
            "0.0.1",
            ApplicablePolicies(policies, TYPES, self._record),
            EnforcementLevel.MANDATORY,
        )

    def _record(self, urn: str, names: Iterable[str]) -> None:
        self.recorded[urn] = list(names)

    def _policy(self, name: str) -> Policy:
        validate: Callable[..., None] = lambda _args, _report: self.names.append(name)  # noqa: E731
        kind = StackPolicy if name in ("buckets", "topics", "stack") else ResourceValidationPolicy
        return kind(name, name, validate)

    def analyze(self, resource_type: str) -> list[str]:
        self.names.clear()
        request = analyzer_pb2.AnalyzeRequest(type=resource_type, urn="urn", name="name")
        request.properties["name"] = "orders"
        self.servicer.Analyze(request, None)
        return list(self.names)

    def analyze_stack(self, *types: str) -> list[str]:
        self.names.clear()
        resources = [
            analyzer_pb2.AnalyzerResource(type=item, urn=item, name="name") for item in types
        ]
        self.servicer.AnalyzeStack(analyzer_pb2.AnalyzeStackRequest(resources=resources), None)
        return list(self.names)


@pytest.mark.parametrize(
    ("resource_type", "called"), [(BUCKET, ["bucket", "both"]), (TOPIC, ["topic", "both"])]
)
def test_resource_is_evaluated_by_policies_of_its_type(
    resource_type: str, called: list[str]
) -> None:
    assert Calls("bucket", "topic", "both").analyze(resource_type) == called


def test_policy_without_types_evaluates_every_resource() -> None:
    assert Calls("bucket", "every").analyze("aws:sqs/queue:Queue") == ["every"]


def test_inputs_of_a_resource_without_policy_are_recorded() -> None:
    pack = Calls("topics", "bucket", "topic")
    assert pack.analyze("aws:sqs/queue:Queue") == []
    assert pack.recorded == {"urn": ["name"]}


def test_stack_is_evaluated_by_policies_of_its_types() -> None:
    pack = Calls("bucket", "buckets", "topics", "stack")
    assert pack.analyze_stack(BUCKET, "aws:sqs/queue:Queue") == ["buckets", "stack"]
    assert pack.analyze_stack(BUCKET, TOPIC) == ["buckets", "topics", "stack"]


def test_other_packs_are_left_unchanged() -> None:
    pack = Calls("bucket", "topic")
    sdk: Any = pulumi_policy.policy
    policies = list(ApplicablePolicies([pack._policy("bucket"), pack._policy("topic")], {}))
    pack.servicer = sdk._PolicyAnalyzerServicer(
        "other", "0.0.1", policies, EnforcementLevel.MANDATORY
    )
    assert pack.analyze(BUCKET) == ["bucket", "topic"]
