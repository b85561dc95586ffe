"""Rules for Amazon EFS file systems and access points."""

from gatehouse_policies.analysis.type_tokens import aws
from gatehouse_policies.engine.requirements import is_set, satisfies, uses_customer_key
from gatehouse_policies.engine.rule import resource_rule

_GUIDE = "https://docs.aws.amazon.com/efs/latest/ug"


file_system_uses_customer_key = resource_rule(
    "GH-EFS-001",
    title="EFS file systems are encrypted with a customer managed key",
    severity="high",
    types=aws("efs.FileSystem"),
    upstream="EFS.1 CKV_AWS_42 CKV_AWS_184 EFS1",
    url=f"{_GUIDE}/encryption-at-rest.html",
).requires(uses_customer_key("kmsKeyId", "encrypted"))


access_point_has_root_directory = resource_rule(
    "GH-EFS-002",
    title="EFS access points enforce a root directory and a user identity",
    types=aws("efs.AccessPoint"),
    upstream="EFS.3 EFS.4 CKV_AWS_329 CKV_AWS_330",
    url=f"{_GUIDE}/efs-access-points.html",
).requires(
    satisfies(
        "rootDirectory.path",
        lambda block, key: block.text(key).strip("/") != "",
        "is not set, or is the root of the file system",
        "set rootDirectory.path to another directory",
    ),
    is_set("posixUser"),
)
