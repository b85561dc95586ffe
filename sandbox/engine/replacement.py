"""Properties whose change replaces the resource, and resource types that store data."""

from typing import Final

# Arguments marked "Forces new resource" in the registry pages of the AWS provider, for the types that store data.
_REPLACING: Final[dict[str, frozenset[str]]] = {
    "aws:backup/vault:Vault": frozenset({"name", "kmsKeyArn"}),
    "aws:cloudwatch/logGroup:LogGroup": frozenset({"name", "namePrefix", "logGroupClass"}),
    "aws:dynamodb/table:Table": frozenset({"name", "hashKey", "rangeKey", "localSecondaryIndexes", "importTable"}),
    "aws:ecr/repository:Repository": frozenset({"name", "encryptionConfigurations"}),
    "aws:elasticache/replicationGroup:ReplicationGroup": frozenset(
        {"replicationGroupId", "subnetGroupName", "port", "atRestEncryptionEnabled", "kmsKeyId", "networkType", "snapshotName"}
    ),
    "aws:kms/key:Key": frozenset({"customerMasterKeySpec", "keyUsage", "multiRegion", "customKeyStoreId", "xksKeyId"}),
    "aws:rds/instance:Instance": frozenset(
        {
            *("engine", "username", "dbName", "kmsKeyId", "storageEncrypted", "availabilityZone", "characterSetName"),
            *("ncharCharacterSetName", "timezone", "snapshotIdentifier", "restoreToPointInTime", "s3Import"),
            "customIamInstanceProfile",
        }
    ),
    "aws:route53/zone:Zone": frozenset({"name", "delegationSetId"}),
    "aws:s3/bucket:Bucket": frozenset({"bucket", "bucketPrefix", "objectLockEnabled"}),
    "aws:secretsmanager/secret:Secret": frozenset({"name", "namePrefix"}),
}

STATEFUL: Final = frozenset(_REPLACING)
"""Types whose replacement or deletion loses data, directly or by losing the key that decrypts it."""

_ECS_SERVICE: Final = frozenset({"cluster", "name", "launchType", "schedulingStrategy"})
_NAMES: Final = frozenset({"name", "namePrefix"})
# A change of any other property of a task definition creates a new revision.
_TASK_DEFINITION: Final = "aws:ecs/taskDefinition:TaskDefinition"
_TASK_DEFINITION_IN_PLACE: Final = frozenset({"tags", "skipDestroy", "trackLatest"})


def replaces(type_: str, property_: str) -> bool:
    """True if a change of this input (camelCase) replaces the resource.

    For a type without an entry in `_REPLACING`, only a new name does: the installed package does not contain this information.
    """
    if property_ == "region":
        return True
    if type_ == _TASK_DEFINITION:
        return property_ not in _TASK_DEFINITION_IN_PLACE
    return property_ in (_ECS_SERVICE if type_ == "aws:ecs/service:Service" else _REPLACING.get(type_, _NAMES))
