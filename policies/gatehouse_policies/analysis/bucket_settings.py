"""The settings on a bucket itself, as the resources that replaced them in version 4 of the
provider.

https://www.pulumi.com/registry/packages/aws/api-docs/s3/bucket/
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pulumi_local.types import UNKNOWN

from gatehouse_policies.analysis.properties import is_unknown


def separate_settings(inputs: Mapping[str, Any]) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """For each setting of a bucket: its input, the class of the resource that replaced it, the
    input of that resource, and the inputs of that resource.
    """
    for name, (resource_class, prop, translate) in _SETTINGS.items():
        for input in (name, f"{name}s"):  # BucketV2 has lists of one object
            if inputs.get(input) not in (None, [], ""):
                yield input, resource_class, prop, translate(inputs[input])


def _object(value: Any, translate: Callable[[Mapping[str, Any]], Any]) -> Any:
    """The translation of an object, or of a list of one object. Other values are unchanged."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return translate(value) if isinstance(value, Mapping) else value


def _objects(value: Any, translate: Callable[[Mapping[str, Any]], Any]) -> Any:
    if isinstance(value, list):
        return [_object(element, translate) for element in value]
    return _object(value, lambda element: [translate(element)])


def _status(flag: Any) -> Any:
    if flag is None:
        return None
    return UNKNOWN if is_unknown(flag) else "Enabled" if flag in (True, "true") else "Disabled"


def _versioning(value: Any) -> dict[str, Any]:
    return {
        "versioningConfiguration": _object(
            value,
            lambda item: {
                "status": _status(item.get("enabled")),
                "mfaDelete": _status(item.get("mfaDelete")),
            },
        )
    }


def _encryption(value: Any) -> dict[str, Any]:
    rules = _object(value, lambda item: item.get("rule", item.get("rules")))
    return {"rules": _objects(rules, _encryption_rule)}


def _encryption_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    name = "applyServerSideEncryptionByDefault"
    return {**rule, name: rule.get(name, rule.get(f"{name}s"))}


def _lifecycle_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "status": _status(rule.get("enabled")),
        "prefix": rule.get("prefix"),
        "filter": {"tags": rule.get("tags")},
        "expiration": rule.get("expiration"),
        "noncurrentVersionExpiration": _object(
            rule.get("noncurrentVersionExpiration", rule.get("noncurrentVersionExpirations")),
            lambda item: {"noncurrentDays": item.get("days")},
        ),
        "abortIncompleteMultipartUpload": {
            "daysAfterInitiation": rule.get("abortIncompleteMultipartUploadDays")
        },
    }


def _replication_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    def encrypted(criteria: Mapping[str, Any]) -> dict[str, Any]:
        objects = criteria.get("sseKmsEncryptedObjects")
        status = _object(objects, lambda item: {"status": _status(item.get("enabled"))})
        return {"sseKmsEncryptedObjects": status}

    def destination(item: Mapping[str, Any]) -> dict[str, Any]:
        key = {"replicaKmsKeyId": item.get("replicaKmsKeyId")}
        return {**item, "encryptionConfiguration": key}

    return {
        **rule,
        "sourceSelectionCriteria": _object(rule.get("sourceSelectionCriteria"), encrypted),
        "deleteMarkerReplication": {"status": rule.get("deleteMarkerReplicationStatus")},
        "destination": _object(rule.get("destination"), destination),
    }


def _replication(value: Any) -> dict[str, Any]:
    rules = _object(value, lambda item: item.get("rules"))
    return {"rules": _objects(rules, _replication_rule)}


def _unchanged(value: Any) -> dict[str, Any]:
    settings = _object(value, dict)
    return settings if isinstance(settings, dict) else {"rule": value, "targetBucket": value}


_SETTINGS: Mapping[str, tuple[str, str, Callable[[Any], dict[str, Any]]]] = {
    "versioning": ("s3.BucketVersioning", "versioningConfiguration", _versioning),
    "serverSideEncryptionConfiguration": (
        "s3.BucketServerSideEncryptionConfiguration",
        "rules",
        _encryption,
    ),
    "logging": ("s3.BucketLogging", "targetBucket", _unchanged),
    "lifecycleRule": (
        "s3.BucketLifecycleConfiguration",
        "rules",
        lambda value: {"rules": _objects(value, _lifecycle_rule)},
    ),
    "replicationConfiguration": ("s3.BucketReplicationConfig", "rules", _replication),
    "objectLockConfiguration": ("s3.BucketObjectLockConfiguration", "rule", _unchanged),
}
