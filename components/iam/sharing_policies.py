"""Permissions for secret sharing. The console creates, changes and purges secrets. The sharing
service opens links and receives requested secrets."""

from collections.abc import Mapping, Sequence

from components.iam.documents import Statement, allow, allow_key_use
from components.iam.key_policies import bucket_key_use, caller_conditions
from components.naming import Naming

CREATE, OPEN = "console", "sharing"
"""Services in the contract: `CREATE` creates secrets, and `OPEN` opens links and receives requested
secrets.
"""

TABLE = "tokens"
BUCKET = "secrets"
KEY = "sharing"
"""Resource names of the table, the bucket and the KMS key."""
INDEXES: Mapping[str, tuple[str, str]] = {
    "owner-index": ("owner", "created_at"),
    "work-index": ("work", "work_at"),
}
"""Partition key (a string) and sort key (a number) of each global secondary index of the table."""
PREFIX = "secrets/"
"""Key prefix of the content in the bucket."""
PURPOSE = "secret-content"
"""Value of `purpose` in the encryption context of data keys."""

TABLE_ACTIONS: Mapping[str, str] = {
    CREATE: "dynamodb:GetItem BatchGetItem PutItem UpdateItem",
    OPEN: "dynamodb:GetItem UpdateItem",
}
OBJECT_ACTIONS: Mapping[str, str] = {
    CREATE: "s3:PutObject DeleteObjectVersion",
    OPEN: "s3:GetObjectVersion PutObject",
}
BUCKET_ACTIONS = "s3:ListBucketVersions"


def variables(names: Naming) -> dict[str, str]:
    """Return the environment variables for the services. The key alias is known before the key
    exists.
    """
    return {
        "GATEHOUSE_SECRET_LINKS_TABLE": names.name(TABLE),
        "GATEHOUSE_SECRETS_BUCKET": names.bucket(BUCKET),
        "GATEHOUSE_SECRETS_KEY": names.arn("kms", names.alias(KEY)),
    }


def statements(names: Naming, services: Sequence[str]) -> list[Statement]:
    """Return the permissions of a process or function that runs `services`. The key policies allow
    the use of the KMS keys.
    """
    table, bucket = names.table_arn(TABLE), names.bucket_arn(BUCKET)
    allowed: list[Statement] = []
    for service, verb in ((CREATE, "Create"), (OPEN, "Open")):
        if service in services:
            allowed += [
                allow(f"{verb}Secrets", TABLE_ACTIONS[service], [table]),
                allow(f"{verb}Content", OBJECT_ACTIONS[service], [f"{bucket}/{PREFIX}*"]),
            ]
    if CREATE in services:
        allowed += [
            allow("ListSecrets", "dynamodb:Query", [f"{table}/index/{index}" for index in INDEXES]),
            allow("ListContent", BUCKET_ACTIONS, [bucket]),
        ]
    return allowed


def key_statements(
    names: Naming, roles: Mapping[str, Sequence[str]]
) -> Mapping[str, tuple[Statement, ...]]:
    """Return key policy statements, keyed by KMS key.

    The key `data` encrypts the table and the S3 objects on behalf of the roles. The key `sharing`
    encrypts the data keys for the content, and KMS authenticates the encryption context of each
    data key.

    roles: Role ARNs of the processes and functions that run each service.
    """
    writers = list(dict.fromkeys((*roles[CREATE], *roles[OPEN])))
    table = {
        "aws:dynamodb:tableName": names.name(TABLE),
        "aws:dynamodb:subscriberId": names.account,
    }
    items = caller_conditions(names, "dynamodb", context=table)
    content = caller_conditions(names, context={"purpose": PURPOSE, "environment": names.stack})
    return {
        KEY: (
            allow_key_use("CreateContentKeys", "kms:GenerateDataKey", {"AWS": writers}, content),
            allow_key_use("OpenContentKeys", "kms:Decrypt", {"AWS": roles[OPEN]}, content),
        ),
        "data": (
            allow_key_use("SecretLinksTable", "kms:Decrypt", {"AWS": writers}, items),
            bucket_key_use("WriteContent", names, BUCKET, "kms:GenerateDataKey", writers),
            bucket_key_use("ReadContent", names, BUCKET, "kms:Decrypt", roles[OPEN]),
        ),
    }
