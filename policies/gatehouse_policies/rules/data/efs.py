"""Rules for Amazon EFS file systems and access points."""

from pulumi_local.type_tokens import aws

from gatehouse_policies.engine.requirements import is_set, satisfies, uses_customer_key
from gatehouse_policies.engine.rule import resource_rule

file_system_uses_customer_key = resource_rule("GH-EFS-001", types=aws("efs.FileSystem")).requires(
    uses_customer_key("kmsKeyId", "encrypted")
)


access_point_has_root_directory = resource_rule(
    "GH-EFS-002", types=aws("efs.AccessPoint")
).requires(
    satisfies(
        "rootDirectory.path",
        lambda block, key: block.text(key).strip("/") != "",
        "is not set, or is the root of the file system",
        "set rootDirectory.path to another directory",
    ),
    is_set("posixUser"),
)
