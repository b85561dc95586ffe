"""All changes to moto: code patches while an emulator runs, and writes to state that cannot be set
through moto's API.

`install` patches moto's classes. The other functions write to the state of one resource. Attributes
whose names begin with `sandbox_` are read by the patched methods; moto itself reads the others.
"""

import base64
import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore import xform_name
from gatehouse_policies.analysis.iam.grammar import listed, matches
from gatehouse_policies.program.types import ACCOUNT
from moto import backends
from moto.acm.models import acm_backends
from moto.awslambda.models import LambdaFunction
from moto.awslambda.utils import get_backend as lambda_backend
from moto.backup.models import backup_backends
from moto.core import responses
from moto.core.base_backend import BaseBackend
from moto.core.responses import ActionResult
from moto.core.utils import method_names_from_class
from moto.ec2.models import ec2_backends
from moto.ec2.models.amis import AmiBackend
from moto.ec2.models.security_groups import SecurityGroupRule
from moto.ecs.models import ecs_backends
from moto.elasticache.models import elasticache_backends
from moto.iam.access_control import IAMPolicy, IAMRequestBase, PermissionResult
from moto.kms import models as kms_models
from moto.kms.models import kms_backends
from moto.kms.responses import KmsResponse
from moto.kms.utils import generate_private_key
from moto.rds.models import rds_backends
from moto.route53.models import HostedZoneIdentifier
from moto.s3.exceptions import (
    ReplicationConfigurationNotFoundError,
    S3AccessDeniedError,
    S3ClientError,
)
from moto.s3.models import FakeBucket
from moto.s3.responses import S3Response
from moto.s3control.models import s3control_backends
from moto.secretsmanager.models import secretsmanager_backends

from sandbox.emulator import moto_dynamodb
from sandbox.emulator.request import CreateRequest

_LOG_DELIVERY_SERVICE = "logging.s3.amazonaws.com"
_SERVICE_SETTINGS = (
    *(
        "deploymentConfiguration",
        "availabilityZoneRebalancing",
        "enableECSManagedTags",
        "enableExecuteCommand",
    ),
    "healthCheckGracePeriodSeconds",
)
_DATABASE_SETTINGS = (
    "PerformanceInsightsKMSKeyId",
    "PerformanceInsightsRetentionPeriod",
    "DatabaseInsightsMode",
)


def install(authorize: Callable[[Any, str], None]) -> Callable[[], None]:
    """Patch moto. The returned function restores the original code.

    - IAM: `authorize` decides each call (request and resource ARN) instead of moto, which ignores
      resources and most conditions. Signatures are not checked: moto rebuilds them from parsed
      requests, which fails for some paths.
    - S3 server access logs: moto fails on a target policy with `"Principal": "*"` and on lists,
      which AWS accepts.
    - S3 bucket policies: moto ignores conditions, so a Deny statement for requests without TLS
      would deny every call. Deny statements with a condition are skipped; the tests evaluate these
      statements with `policies.analysis.iam`.
    - S3 presigned requests: moto ignores their expiry, the policy of a form, and the version that a
      form creates.
    - S3 replication: moto returns an empty filter and no delete marker settings.
    - DynamoDB: see `moto_dynamodb`.
    - Routing: moto lists its directory and the methods of a class on each request, which takes
      longer than most calls.
    - State: moto creates hundreds of AMIs for each region, and creates all state again when it is
      deleted. The emulator has no AMIs, and deletes state only.
    - Route 53: IDs of hosted zones begin with Z, as on AWS.
    - KMS: moto generates an RSA key pair for each symmetric key, which takes longer than any other
      call.
    - Security group rules, KMS rotation and Lambda: moto omits members of the response that were
      set.
    """
    modules = tuple(backends.list_of_moto_modules())
    patches: tuple[tuple[Any, str, Any], ...] = (
        (backends, "list_of_moto_modules", lambda: modules),
        (responses, "method_names_from_class", functools.cache(method_names_from_class)),
        (BaseBackend, "reset", lambda backend: backend.__dict__.clear()),
        (AmiBackend, "_load_amis", lambda backend: None),
        (
            IAMRequestBase,
            "check_action_permitted",
            lambda request, resource: authorize(request, resource),
        ),
        (IAMRequestBase, "check_signature", lambda request: None),
        (FakeBucket, "_log_permissions_enabled_policy", staticmethod(_allows_log_delivery)),
        (FakeBucket, "get_permission", _bucket_permission),
        (
            SecurityGroupRule,
            "description",
            _rule_description(SecurityGroupRule.__dict__["description"]),
        ),
        *moto_dynamodb.patches(),
        (
            KmsResponse,
            "get_key_rotation_status",
            _key_rotation_status(KmsResponse.get_key_rotation_status),
        ),
        (kms_models, "generate_private_key", _key_pair(generate_private_key)),
        (HostedZoneIdentifier, "generate", _zone_id(HostedZoneIdentifier.generate)),
        (S3Response, "get_bucket_replication", _bucket_replication),
        (S3Response, "get_object", _presigned_download(S3Response.get_object)),
        (S3Response, "_bucket_response_post", _form_upload(S3Response._bucket_response_post)),
        (
            LambdaFunction,
            "get_configuration",
            _function_configuration(LambdaFunction.get_configuration),
        ),
    )
    originals = [(owner, name, owner.__dict__[name]) for owner, name, _ in patches]
    for owner, name, value in patches:
        setattr(owner, name, value)

    def restore() -> None:
        for owner, name, value in originals:
            setattr(owner, name, value)

    return restore


def set_ecs_service(request: CreateRequest, arn: str) -> None:
    """Store the deployment settings of an ECS service, which moto drops."""
    services = ecs_backends[ACCOUNT][request.region].services.values()
    _set(
        next(service for service in services if service.arn == arn), request.sent, _SERVICE_SETTINGS
    )


def set_database(request: CreateRequest, identifier: str) -> None:
    """Store the Performance Insights settings of a DB instance, which moto drops."""
    database: Any = rds_backends[ACCOUNT][request.region].databases[identifier]
    database.performance_insights_enabled = request.sent.get("EnablePerformanceInsights", False)
    _set(database, request.sent, _DATABASE_SETTINGS)


def set_key_rotation(request: CreateRequest, key_id: str, days: int) -> None:
    """Store the rotation period of a KMS key in days."""
    key: Any = kms_backends[ACCOUNT][request.region].keys[key_id]
    key.sandbox_rotation_days = days


def separate_replica_key(request: CreateRequest, key_id: str) -> None:
    """Give a KMS replica key separate aliases and grants. In moto, the replica shares those of the
    primary key.
    """
    key: Any = kms_backends[ACCOUNT][request.region].keys[key_id]
    key.aliases, key.grants = {}, {}


def set_function_configuration(request: CreateRequest, name: str, version: str) -> None:
    """Store the logging and dead-letter configuration of a Lambda function and of its published
    version.
    """
    for qualifier in {"$LATEST", version}:
        function: Any = lambda_backend(ACCOUNT, request.region).get_function(name, qualifier)
        members = ("LoggingConfig", "DeadLetterConfig")
        function.sandbox_configuration = {
            key: request.sent[key] for key in members if key in request.sent
        }


def set_rule_description(
    request: CreateRequest, group: str, rule_id: str, description: str
) -> None:
    """Store the description of a security group rule whose peer is a group or a prefix list."""
    security_group: Any = ec2_backends[ACCOUNT][request.region].get_security_group_from_id(group)
    for rule in (*security_group.ingress_rules, *security_group.egress_rules):
        if rule.id == rule_id:
            rule.sandbox_description = description


def set_secret_rotation(request: CreateRequest, secret: str, function: str, days: int) -> None:
    """Enable the rotation of a secret without invoking the function: moto would need Docker and a
    secret value.
    """
    record: Any = secretsmanager_backends[ACCOUNT][request.region].secrets[secret]
    record.rotation_requested = True
    record.rotation_enabled = True
    record.rotation_lambda_arn = function
    record.auto_rotate_after_days = days


def issue_certificate(request: CreateRequest, arn: str) -> None:
    """Set an ACM certificate to ISSUED, as AWS does after validation."""
    certificate: Any = acm_backends[ACCOUNT][request.region].get_certificate(arn)
    certificate.status = "ISSUED"


def set_account_public_access_block(account: str, configuration: dict[str, Any]) -> None:
    """Store the S3 public access block of the account; botocore cannot address S3 Control at an IP
    address.
    """
    s3control_backends[account]["aws"].put_public_access_block(account, configuration)


def delete_cache_subnet_group(request: CreateRequest, name: str) -> None:
    """Delete an ElastiCache subnet group. moto has no DeleteCacheSubnetGroup."""
    elasticache_backends[ACCOUNT][request.region].cache_subnet_groups.pop(name, None)


def complete_replication_group_deletion(request: CreateRequest, identity: str) -> None:
    """Delete an ElastiCache replication group, which moto keeps in the state "deleting"."""
    elasticache_backends[ACCOUNT][request.region].replication_groups.pop(identity, None)


def complete_backup_plan_deletion(request: CreateRequest, identity: str) -> None:
    """Delete a backup plan, which moto keeps, so that it rejects another plan with the same
    document.
    """
    backup_backends[ACCOUNT][request.region].plans.pop(identity, None)


def delete_account_public_access_block(account: str) -> None:
    """Delete the S3 public access block of the account."""
    s3control_backends[account]["aws"].delete_public_access_block(account)


def replicated_backups_arn(source: str, region: str) -> str:
    """The ARN of the automated backups of the database with the ARN `source` in another region,
    which moto does not have.
    """
    return f"arn:aws:rds:{region}:{ACCOUNT}:auto-backup:ab-{hashlib.sha256(source.encode()).hexdigest()[:26]}"  # noqa: E501


def replicated_database(backups_arn: str) -> dict[str, Any] | None:
    """The parameters that a restored database takes over from the database with these backups. None
    for unknown backups.
    """
    region = backups_arn.split(":")[3]
    for backend in rds_backends[ACCOUNT].values():
        for database in backend.databases.values():
            if replicated_backups_arn(database.db_instance_arn, region) == backups_arn:
                return {"DBName": database.db_name, "MasterUsername": database.master_username}
    return None


def _set(record: Any, sent: Mapping[str, Any], members: Iterable[str]) -> None:
    for member in members:
        if member in sent:
            setattr(record, xform_name(member), sent[member])


def _bucket_permission(bucket: Any, action: str, resource: str) -> Any:
    if bucket.policy is None:
        return PermissionResult.NEUTRAL
    document = json.loads(bucket.policy.decode())
    statements = [
        row
        for row in listed(document["Statement"])
        if row["Effect"] == "Allow" or not row.get("Condition")
    ]
    policy: Any = IAMPolicy(json.dumps({**document, "Statement": statements}))
    return policy.is_action_permitted(action, resource)


def _rule_description(original: Any) -> property:
    return property(lambda rule: getattr(rule, "sandbox_description", None) or original.fget(rule))


def _key_rotation_status(original: Any) -> Any:
    @functools.wraps(original)
    def get_key_rotation_status(response: Any) -> str:
        status = json.loads(original(response))
        key = response.kms_backend.keys[
            response.kms_backend.get_key_id(response._get_param("KeyId"))
        ]
        days = getattr(key, "sandbox_rotation_days", None)
        return json.dumps(
            {**status, "RotationPeriodInDays": days}
            if days and status["KeyRotationEnabled"]
            else status
        )

    return get_key_rotation_status


def _key_pair(original: Any) -> Any:
    return lambda key_spec: None if key_spec == "SYMMETRIC_DEFAULT" else original(key_spec)


def _function_configuration(original: Any) -> Any:
    @functools.wraps(original)
    def get_configuration(function: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return {
            **original(function, *args, **kwargs),
            **getattr(function, "sandbox_configuration", {}),
        }

    return get_configuration


def _zone_id(original: Callable[..., str]) -> Callable[..., str]:
    return lambda identifier, **arguments: f"Z{original(identifier, **arguments)[1:]}"


def _bucket_replication(response: Any) -> Any:
    response.data["Action"] = "GetBucketReplication"
    replication = response.backend.get_bucket_replication(response.bucket_name)
    if not replication:
        raise ReplicationConfigurationNotFoundError(bucket_name=response.bucket_name)
    rules = [
        {**rule, "Filter": {"Prefix": (rule.get("Filter") or {}).get("Prefix") or ""}}
        for rule in replication["Rule"]
    ]
    return response.serialized(
        ActionResult({"ReplicationConfiguration": {"Role": replication["Role"], "Rules": rules}})
    )


def _presigned_download(original: Any) -> Any:
    @functools.wraps(original)
    def get_object(response: Any) -> Any:
        query = response.querystring
        if "X-Amz-Expires" in query:
            signed_at = datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(
                tzinfo=UTC
            )
            if datetime.now(UTC) > signed_at + timedelta(seconds=int(query["X-Amz-Expires"][0])):
                raise S3AccessDeniedError
        return original(response)

    return get_object


def _form_upload(original: Any) -> Any:
    """Checks the expiry, exact fields and size of a form, and returns the version of the new
    object.
    """

    @functools.wraps(original)
    def post(response: Any, request: Any, bucket_name: str) -> Any:
        form = response.form_data
        if "policy" not in form:
            return original(response, request, bucket_name)
        policy = json.loads(base64.b64decode(form["policy"]))
        exact = {
            name: value
            for row in policy["conditions"]
            if isinstance(row, dict)
            for name, value in row.items()
        }
        ranges = [
            row[1:]
            for row in policy["conditions"]
            if isinstance(row, list) and row[0] == "content-length-range"
        ]
        fields = {**form, "bucket": bucket_name}
        expired = datetime.now(UTC) > datetime.fromisoformat(policy["expiration"])
        if expired or any(fields.get(name) != value for name, value in exact.items()):
            raise S3AccessDeniedError
        if not all(low <= len(response.body) <= high for low, high in ranges):
            raise S3ClientError("EntityTooLarge", "The size is not allowed by the policy.")
        status, headers, body = original(response, request, bucket_name)
        created = response.backend.get_object(bucket_name, form["key"])
        return status, {**headers, "x-amz-version-id": created.version_id}, body

    return post


def _allows_log_delivery(target_bucket: Any, target_prefix: str | None) -> bool:
    if not target_bucket.policy:
        return False
    arn = f"arn:{target_bucket.partition}:s3:::{target_bucket.name}/{target_prefix or ''}log"
    return any(
        _allows_put(item, arn)
        for item in listed(json.loads(target_bucket.policy.decode())["Statement"])
    )


def _allows_put(statement: dict[str, Any], arn: str) -> bool:
    principal = statement.get("Principal")
    services = listed(principal.get("Service")) if isinstance(principal, dict) else []
    return (
        statement.get("Effect") == "Allow"
        and _LOG_DELIVERY_SERVICE in services
        and any(matches("s3:PutObject", action) for action in listed(statement.get("Action")))
        and any(matches(arn, pattern) for pattern in listed(statement.get("Resource")))
    )
