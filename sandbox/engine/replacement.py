"""Which properties cannot be changed in place, so that AWS has to make the resource anew, and which resources hold data."""

from typing import Final

STATEFUL: Final = frozenset(
    {
        "aws:backup/vault:Vault",
        "aws:cloudwatch/logGroup:LogGroup",
        "aws:dynamodb/table:Table",
        "aws:ecr/repository:Repository",
        "aws:elasticache/replicationGroup:ReplicationGroup",
        "aws:kms/key:Key",
        "aws:rds/instance:Instance",
        "aws:route53/zone:Zone",
        "aws:s3/bucket:Bucket",
        "aws:secretsmanager/secret:Secret",
    }
)
"""Types whose replacement or deletion loses what is in them, or what they alone can open."""

# The arguments that upstream marks as forcing a new resource; its registry pages have them per resource ("Forces new
# resource"). Written out where a mistake would cost data.
_KNOWN: Final[dict[str, frozenset[str]]] = {
    "aws:backup/vault:Vault": frozenset({"name", "kmsKeyArn"}),
    "aws:cloudwatch/logGroup:LogGroup": frozenset({"name", "namePrefix", "logGroupClass"}),
    "aws:dynamodb/table:Table": frozenset({"name", "hashKey", "rangeKey", "localSecondaryIndexes", "importTable"}),
    "aws:ecr/repository:Repository": frozenset({"name", "encryptionConfigurations"}),
    "aws:ecs/service:Service": frozenset({"cluster", "name", "launchType", "schedulingStrategy"}),
    "aws:elasticache/replicationGroup:ReplicationGroup": frozenset(
        {"replicationGroupId", "subnetGroupName", "port", "atRestEncryptionEnabled", "kmsKeyId", "networkType", "snapshotName"}
    ),
    "aws:kms/key:Key": frozenset({"customerMasterKeySpec", "keyUsage", "multiRegion", "customKeyStoreId", "xksKeyId"}),
    "aws:rds/instance:Instance": frozenset(
        {
            *("engine", "username", "dbName", "kmsKeyId", "storageEncrypted", "availabilityZone", "characterSetName"),
            *(
                "ncharCharacterSetName",
                "timezone",
                "snapshotIdentifier",
                "restoreToPointInTime",
                "s3Import",
                "customIamInstanceProfile",
            ),
        }
    ),
    "aws:route53/zone:Zone": frozenset({"name", "delegationSetId"}),
    "aws:s3/bucket:Bucket": frozenset({"bucket", "bucketPrefix", "objectLockEnabled"}),
    "aws:secretsmanager/secret:Secret": frozenset({"name", "namePrefix"}),
}
_NAMES: Final = frozenset({"name", "namePrefix"})
# ECS has no call that changes a task definition: everything but these makes a new revision.
_REVISIONS: Final = "aws:ecs/taskDefinition:TaskDefinition"
_KEPT: Final = frozenset({"tags", "skipDestroy", "trackLatest"})


def replaces(type_: str, property_: str) -> bool:
    """True when a change of this input (camelCase) makes the resource anew. For a type that is not written out here, a new name
    counts as that and nothing else does: the installed package does not say it."""
    if property_ == "region":
        return True
    if type_ == _REVISIONS:
        return property_ not in _KEPT
    return property_ in _KNOWN.get(type_, _NAMES)
