"""Where moto is wrong about what AWS accepts: put right while an emulator runs, put back afterwards."""

import functools
import json
from collections.abc import Callable
from typing import Any

from moto.awslambda.models import LambdaFunction
from moto.core.responses import ActionResult
from moto.ec2.models.security_groups import SecurityGroupRule
from moto.iam.access_control import IAMPolicy, PermissionResult
from moto.kms.responses import KmsResponse
from moto.s3.exceptions import ReplicationConfigurationNotFoundError
from moto.s3.models import FakeBucket
from moto.s3.responses import S3Response

from policies.analysis.iam.grammar import listed, matches

_LOG_SERVICE = "logging.s3.amazonaws.com"


def install() -> Callable[[], None]:
    """Correct moto; the returned function undoes it.

    Server access logs: moto stumbles over a target policy with a statement for everyone (`"Principal": "*"`) and over
    lists, which AWS accepts. Replication: its answer forgets most of what was put. Other answers: moto leaves out of them
    what `sandbox/emulator/resources/kept.py` remembers. Bucket policies: moto reads no condition, so that a deny of calls without TLS would
    refuse every call; such statements are decided on the documents (policies/analysis/iam/evaluation.py).
    """
    corrected: tuple[tuple[Any, str, Any], ...] = (
        (FakeBucket, "_log_permissions_enabled_policy", staticmethod(_may_log_to)),
        (FakeBucket, "get_permission", _by_plain_statements),
        (SecurityGroupRule, "description", _described(SecurityGroupRule.__dict__["description"])),
        (KmsResponse, "get_key_rotation_status", _with_period(KmsResponse.get_key_rotation_status)),
        (S3Response, "get_bucket_replication", _whole_replication),
        (LambdaFunction, "get_configuration", _with_the_rest(LambdaFunction.get_configuration)),
    )
    before = [(owner, name, owner.__dict__[name]) for owner, name, _ in corrected]
    for owner, name, value in corrected:
        setattr(owner, name, value)

    def restore() -> None:
        for owner, name, value in before:
            setattr(owner, name, value)

    return restore


def _by_plain_statements(bucket: Any, action: str, resource: str) -> Any:
    """What the bucket's policy says to a call, by the statements that moto understands."""
    if bucket.policy is None:
        return PermissionResult.NEUTRAL
    document = json.loads(bucket.policy.decode())
    plain = [row for row in listed(document["Statement"]) if row["Effect"] == "Allow" or not row.get("Condition")]
    policy: Any = IAMPolicy(json.dumps({**document, "Statement": plain}))
    return policy.is_action_permitted(action, resource)


def _described(original: Any) -> property:
    return property(lambda rule: getattr(rule, "kept_description", None) or original.fget(rule))


def _with_period(original: Any) -> Any:
    @functools.wraps(original)
    def get_key_rotation_status(response: Any) -> str:
        answer = json.loads(original(response))
        key = response.kms_backend.keys[response.kms_backend.get_key_id(response._get_param("KeyId"))]
        days = getattr(key, "kept_rotation_days", None)
        return json.dumps({**answer, "RotationPeriodInDays": days} if days and answer["KeyRotationEnabled"] else answer)

    return get_key_rotation_status


def _with_the_rest(original: Any) -> Any:
    @functools.wraps(original)
    def get_configuration(function: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return {**original(function, *args, **kwargs), **getattr(function, "kept_configuration", {})}

    return get_configuration


def _whole_replication(response: Any) -> Any:
    """moto answers with an empty filter and with deletions that are not copied, whatever was put."""
    response.data["Action"] = "GetBucketReplication"
    held = response.backend.get_bucket_replication(response.bucket_name)
    if not held:
        raise ReplicationConfigurationNotFoundError(bucket_name=response.bucket_name)
    rules = [{**rule, "Filter": {"Prefix": (rule.get("Filter") or {}).get("Prefix") or ""}} for rule in held["Rule"]]
    return response.serialized(ActionResult({"ReplicationConfiguration": {"Role": held["Role"], "Rules": rules}}))


def _may_log_to(target_bucket: Any, target_prefix: str | None) -> bool:
    """True if the target's policy lets the log service write below the prefix."""
    if not target_bucket.policy:
        return False
    written = f"arn:{target_bucket.partition}:s3:::{target_bucket.name}/{target_prefix or ''}log"
    return any(_lets_write(item, written) for item in listed(json.loads(target_bucket.policy.decode())["Statement"]))


def _lets_write(statement: dict[str, Any], written: str) -> bool:
    principal = statement.get("Principal")
    services = listed(principal.get("Service")) if isinstance(principal, dict) else []
    return (
        statement.get("Effect") == "Allow"
        and _LOG_SERVICE in services
        and any(matches("s3:PutObject", action) for action in listed(statement.get("Action")))
        and any(matches(written, pattern) for pattern in listed(statement.get("Resource")))
    )
