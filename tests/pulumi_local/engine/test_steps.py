"""Which changes replace a resource."""

import importlib
import re
import sys
import tomllib
from pathlib import Path

import pulumi
import pytest
from pulumi_local.engine.steps import replaces
from pulumi_local.schema import camel

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("type_", "property_", "expected"),
    [
        ("aws:rds/instance:Instance", "storageEncrypted", True),
        ("aws:rds/instance:Instance", "instanceClass", False),
        ("aws:s3/bucket:Bucket", "bucket", True),
        ("aws:s3/bucket:Bucket", "region", True),
        ("aws:s3/bucket:Bucket", "tags", False),
        ("aws:ecs/taskDefinition:TaskDefinition", "containerDefinitions", True),
        ("aws:elasticache/replicationGroup:ReplicationGroup", "transitEncryptionEnabled", None),
        ("aws:imaginary/thing:Thing", "name", None),
        ("random:index/randomId:RandomId", "byteLength", False),
    ],
)
def test_replacing_properties(type_: str, property_: str, expected: bool | None) -> None:
    assert replaces(type_, property_) is expected


def test_replacing_properties_of_every_resource_of_the_program_are_known() -> None:
    classes = {}
    for file in [
        ROOT / "__main__.py",
        ROOT / "account/__main__.py",
        *(ROOT / "components").rglob("*.py"),
    ]:
        for module, name in re.findall(r"\baws\.([a-z0-9_]+)\.([A-Z]\w+)", file.read_text()):
            class_ = getattr(importlib.import_module(f"pulumi_aws.{module}"), name, None)
            if isinstance(class_, type) and issubclass(class_, pulumi.CustomResource):
                classes[vars(class_)["pulumi_type"]] = class_
    assert len(classes) > 100
    facts = tomllib.loads((ROOT / "pulumi_local/pulumi_local/engine/replacement.toml").read_text())
    assert classes.keys() - facts["replace"].keys() == set()
    for table in facts.values():
        for type_, properties in table.items():
            module, name = sys.modules[classes[type_].__module__], classes[type_].__name__
            arguments = getattr(module, f"{name}InitArgs", None) or getattr(module, f"{name}Args")
            known = {
                camel(key) for key, value in vars(arguments).items() if isinstance(value, property)
            }
            assert set(properties) <= known, type_
