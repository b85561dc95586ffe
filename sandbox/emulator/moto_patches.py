"""All changes to moto: code patches while an emulator runs, and writes to state that cannot be set
through moto's API.

`install` patches moto's classes. The other functions write to the state of one resource.
"""

import functools
import hashlib
import importlib
import json
import threading
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

from gatehouse_policies.analysis.iam.grammar import matches
from moto.backends import get_backend
from moto.dynamodb.exceptions import MockValidationException
from moto.iam.access_control import IAMPolicy, PermissionResult
from pulumi_local.lists import listed
from pulumi_local.types import ACCOUNT

from sandbox.emulator.request import CreateRequest

_LOG_DELIVERY_SERVICE = "logging.s3.amazonaws.com"
#: Maximum size of an expression in bytes. Source: Amazon DynamoDB Developer Guide, "Quotas in
#: Amazon DynamoDB".
_EXPRESSION_BYTES_MAX = 4096

Patch = Callable[[Any], Any]
"""Returns the new value of an attribute. The argument is the original value."""


def install(authorize: Callable[[Any, str], None]) -> Callable[[], None]:
    """Patch moto. The returned function restores the original code.

    authorize: decides each call (request and resource ARN) instead of moto, which ignores resources
        and most conditions.
    """
    patches: Mapping[str, Patch] = {
        **_PATCHES,
        "moto.iam.access_control:IAMRequestBase.check_action_permitted": lambda _: (
            lambda request, resource: authorize(request, resource)
        ),
    }
    places = [(*_place(path), patch) for path, patch in patches.items()]
    originals = [(owner, name, vars(owner)[name]) for owner, name, _ in places]
    for owner, name, patch in places:
        setattr(owner, name, patch(getattr(owner, name)))

    def restore() -> None:
        for owner, name, original in originals:
            setattr(owner, name, original)

    return restore


def _place(path: str) -> tuple[Any, str]:
    """The object that has the attribute of a path such as "module:Class.attribute", and the name of
    the attribute.
    """
    module, _, attributes = path.partition(":")
    parents, _, name = attributes.rpartition(".")
    owner = importlib.import_module(module)
    return (attrgetter(parents)(owner) if parents else owner), name


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


def _one_at_a_time(original: Any) -> Any:
    lock = threading.Lock()

    @functools.wraps(original)
    def call_action(handler: Any) -> Any:
        _check_expressions(handler.params)
        with lock:
            return original(handler)

    return call_action


def _check_expressions(parameters: Any) -> None:
    if isinstance(parameters, list):
        for item in parameters:
            _check_expressions(item)
    elif isinstance(parameters, dict):
        for name, value in parameters.items():
            if (
                name.endswith("Expression")
                and (size := len(str(value).encode())) > _EXPRESSION_BYTES_MAX
            ):
                message = (
                    f"Invalid {name}: Expression size has exceeded the maximum allowed "
                    f"size; expression size: {size}"
                )
                raise MockValidationException(message)
            if name in ("TransactItems", "Put", "Update", "Delete", "ConditionCheck"):
                _check_expressions(value)


_PATCHES: Mapping[str, Patch] = {
    # moto rebuilds signatures from parsed requests, which fails for some paths.
    "moto.iam.access_control:IAMRequestBase.check_signature": lambda _: lambda request: None,
    # moto fails on a target policy with "Principal": "*" and on lists, which AWS accepts.
    "moto.s3.models:FakeBucket._log_permissions_enabled_policy": lambda _: staticmethod(
        _allows_log_delivery
    ),
    # moto ignores conditions, so a Deny statement for requests without TLS would deny every call.
    # Deny statements with a condition are skipped; the tests evaluate these statements with
    # `gatehouse_policies.analysis.iam`.
    "moto.s3.models:FakeBucket.get_permission": lambda _: _bucket_permission,
    # moto evaluates conditions and writes without a lock. Calls run one at a time, so conditional
    # updates are atomic. Expressions above 4 KB are rejected.
    "moto.dynamodb.responses:DynamoHandler.call_action": _one_at_a_time,
    # moto lists its folder and the methods of a class for each request.
    "moto.backends:list_of_moto_modules": lambda original: functools.cache(
        lambda: tuple(original())
    ),
    "moto.core.responses:method_names_from_class": functools.cache,
}
"""Behavior of AWS that moto does not have, and the same results in less time, keyed by the
attribute that is replaced.
"""


def _state(service: str, account: str = ACCOUNT) -> Any:
    return get_backend(service)[account]


def separate_replica_key(request: CreateRequest, key_id: str) -> None:
    """Give a KMS replica key separate aliases and grants. In moto, the replica shares those of the
    primary key.
    """
    key = _state("kms")[request.region].keys[key_id]
    key.aliases, key.grants = {}, {}


def set_secret_rotation(request: CreateRequest, secret: str, function: str, days: int) -> None:
    """Enable the rotation of a secret without invoking the function: moto would need Docker and a
    secret value.
    """
    record = _state("secretsmanager")[request.region].secrets[secret]
    record.rotation_requested = True
    record.rotation_enabled = True
    record.rotation_lambda_arn = function
    record.auto_rotate_after_days = days


def issue_certificate(request: CreateRequest, arn: str) -> None:
    """Set an ACM certificate to ISSUED, as AWS does after validation."""
    _state("acm")[request.region].get_certificate(arn).status = "ISSUED"


def set_account_public_access_block(account: str, configuration: dict[str, Any]) -> None:
    """Store the S3 public access block of the account; botocore cannot address S3 Control at an IP
    address.
    """
    _state("s3control", account)["aws"].put_public_access_block(account, configuration)


def delete_account_public_access_block(account: str) -> None:
    _state("s3control", account)["aws"].delete_public_access_block(account)


def remove(request: CreateRequest, service: str, collection: str, identity: str) -> None:
    """Remove a resource that moto cannot delete, or keeps after its deletion."""
    getattr(_state(service)[request.region], collection).pop(identity, None)


def replicated_backups_arn(source: str, region: str) -> str:
    """The ARN of the automated backups of the database with the ARN `source` in another region,
    which moto does not have.
    """
    digest = hashlib.sha256(source.encode()).hexdigest()[:26]
    return f"arn:aws:rds:{region}:{ACCOUNT}:auto-backup:ab-{digest}"


def replicated_database(backups_arn: str) -> dict[str, Any] | None:
    """The parameters that a restored database takes over from the database with these backups. None
    for unknown backups.
    """
    region = backups_arn.split(":")[3]
    for backend in _state("rds").values():
        for database in backend.databases.values():
            if replicated_backups_arn(database.db_instance_arn, region) == backups_arn:
                return {"DBName": database.db_name, "MasterUsername": database.master_username}
    return None
