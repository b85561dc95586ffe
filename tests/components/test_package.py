"""The component package: its schema, its provider process, its components, and the example in Pulumi YAML."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import pulumi
import pytest
import yaml
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from components.package.catalogue import FACADES
from components.package.facade import Facade
from components.package.inputs import PackageError
from components.settings.data import DatabaseSettings
from sandbox.engine.program import run
from sandbox.engine.types import Registration
from tests.components.program import PROVIDER_OUTPUTS, ROOT
from tools.docs.pages import PACKAGE_SCHEMA, package_schema

EXAMPLE = ROOT / "examples" / "component-package" / "Pulumi.yaml"
SCHEMA: dict[str, Any] = json.loads(PACKAGE_SCHEMA.read_text(encoding="utf-8"))
NAMES = {"stack": "shop", "account": "123456789012", "region": "eu-west-1"}
KEY, ROLE = "arn:aws:kms:eu-west-1:123456789012:key/1", "arn:aws:iam::123456789012:role/x"
LOGS = {"keyArn": KEY, "retentionDays": 400, "protection": {}}
PLACEMENT = {"subnetIds": ["subnet-1", "subnet-2"], "securityGroupId": "sg-1"}
INPUTS: dict[str, dict[str, Any]] = {
    "Bucket": {"names": NAMES, "bucketName": "gatehouse-shop-x", "dataClass": "internal", "keyArn": KEY},
    "KmsKey": {"names": NAMES, "alias": "data", "description": "Data", "services": ["s3", "logs"]},
    "Network": {
        "names": NAMES,
        "network": {"cidr": "10.60.0.0/16", "zones": ["eu-west-1a", "eu-west-1b", "eu-west-1c"]},
        "buckets": [],
        "logRoleArn": ROLE,
        "logs": LOGS,
    },
    "Service": {
        "names": NAMES,
        "scaling": {"cpu": 256, "memoryMib": 512, "tasksMin": 2, "tasksMax": 4},
        "clusterArn": "arn:aws:ecs:eu-west-1:123456789012:cluster/shop",
        "clusterName": "shop",
        "taskDefinitionArn": "arn:aws:ecs:eu-west-1:123456789012:task-definition/shop:1",
        "placement": PLACEMENT,
        "infrastructureRoleArn": ROLE,
        "rollbackAlarms": ["errors"],
    },
    "Database": {
        "names": NAMES,
        "database": {"instanceClass": "db.m7g.large", "storageGib": 100, "storageMaxGib": 200},
        "placement": PLACEMENT,
        "keyArn": KEY,
        "secretsKeyArn": KEY,
        "monitoringRoleArn": ROLE,
        "topicArn": "arn:aws:sns:eu-west-1:123456789012:shop",
        "logs": LOGS,
    },
    "AuditTrail": {"names": NAMES, "bucket": "shop-trail", "roleArn": ROLE, "dataEvents": {}, "logs": LOGS},
}
PROGRAM = '''
import json, re
from pathlib import Path
import pulumi
from components.package.provider import provider

def resolve(value, created):
    """Replace ${name}, ${name.output} and fn::toJSON."""
    if isinstance(value, dict):
        if "fn::toJSON" in value:
            return json.dumps(resolve(value["fn::toJSON"], created))
        return {key: resolve(item, created) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, created) for item in value]
    match = re.fullmatch(r"\\$\\{([\\w-]+)(?:\\.(\\w+))?\\}", str(value))
    if not match:
        return value
    found = created[match[1]]
    return found[match[2]] if match[2] else found

host, document = provider(), json.loads(Path("program.json").read_text())
created = dict(document.get("variables", {}))
for name, row in document["resources"].items():
    package, _, kind = row["type"].partition(":")
    if package == "gatehouse":
        properties = resolve(row["properties"], created)
        state = host.construct(name, f"gatehouse:index:{kind}", properties, pulumi.ResourceOptions()).state
        created[name] = state
    else:
        created[name] = {"arn": f"arn:aws:mock:::{name}"}
for name, value in document.get("outputs", {}).items():
    pulumi.export(name, resolve(value, created))
'''


class Outputs:
    """Returns the inputs, an ARN and the outputs in `PROVIDER_OUTPUTS`."""

    def create(self, registration: Registration) -> tuple[str, dict[str, Any]]:
        outputs = {"arn": f"arn:aws:mock:::{registration.name}", **registration.inputs}
        return f"{registration.name}-id", outputs | PROVIDER_OUTPUTS.get(registration.type, {})

    def invoke(self, token: str, args: dict[str, Any], provider: Mapping[str, Any]) -> dict[str, Any]:
        raise AssertionError(f"the package calls {token}")


def deploy(folder: Path, document: dict[str, Any]) -> tuple[list[Registration], dict[str, Any]]:
    """Run a program with these resources. Returns the registrations and the stack outputs."""
    (folder / "Pulumi.yaml").write_text("name: shop\nruntime: python\n", encoding="utf-8")
    (folder / "Pulumi.dev.yaml").write_text("config: {}\n", encoding="utf-8")
    (folder / "__main__.py").write_text(PROGRAM.replace('Path("program.json")', f"Path({str(folder / 'program.json')!r})"))
    (folder / "program.json").write_text(json.dumps(document), encoding="utf-8")
    deployment = run(folder, "dev", Outputs(), preview=False, config={})
    return [resource.registration for resource in deployment.resources], deployment.exports


@pytest.fixture(scope="module")
def all_components(tmp_path_factory: pytest.TempPathFactory) -> list[Registration]:
    resources = {name.lower(): {"type": f"gatehouse:{name}", "properties": inputs} for name, inputs in INPUTS.items()}
    return deploy(tmp_path_factory.mktemp("program"), {"resources": resources})[0]


def test_committed_schema_is_current() -> None:
    assert PACKAGE_SCHEMA.read_text(encoding="utf-8") == package_schema(), "run: make docs"


def test_every_component_and_input_has_a_description() -> None:
    assert set(SCHEMA["resources"]) == {f"gatehouse:index:{facade.name}" for facade in FACADES}
    shapes = [*SCHEMA["resources"].values(), *SCHEMA["types"].values()]
    inputs = [(name, row) for shape in shapes for name, row in shape.get("inputProperties", shape["properties"]).items()]
    assert len(inputs) > 100
    assert [name for name, row in inputs if not row.get("description")] == []
    assert [token for token, row in SCHEMA["resources"].items() if not row["description"]] == []


def test_settings_have_the_defaults_of_the_model() -> None:
    required = SCHEMA["types"]["gatehouse:index:DatabaseSettings"]["required"]
    assert required == ["instanceClass", "storageGib", "storageMaxGib"]
    assert "default" not in json.dumps(SCHEMA["types"]["gatehouse:index:DatabaseSettings"]["properties"]["multiAz"]).split()


def test_provider_process_serves_the_schema() -> None:
    command = [sys.executable, str(ROOT / "components" / "package"), "127.0.0.1:1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT / "examples") as process:
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline())
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                stub = provider_pb2_grpc.ResourceProviderStub(channel)
                response = stub.GetSchema(provider_pb2.GetSchemaRequest(), timeout=60)
        finally:
            process.terminate()
    assert json.loads(response.schema) == SCHEMA


@pytest.mark.parametrize("name", INPUTS)
def test_component_is_created_from_its_required_inputs(all_components: list[Registration], name: str) -> None:
    (component,) = (row for row in all_components if row.type == f"gatehouse:index:{name}")
    children = [row for row in all_components if row.urn.startswith(component.urn.rpartition("::")[0] + "$")]
    assert [row for row in children if row.type.startswith("aws:")]
    required = SCHEMA["resources"][f"gatehouse:index:{name}"]["requiredInputs"]
    assert set(required) <= set(INPUTS[name])


def test_components_have_the_defaults_of_prod(all_components: list[Registration]) -> None:
    by_type = {row.type: row for row in all_components}
    database = by_type["aws:rds/instance:Instance"].inputs
    defaults = DatabaseSettings.model_validate(
        {"instance_class": "db.m7g.large", "storage_gib": 100, "storage_max_gib": 200}, context={"environment": "prod"}
    )
    assert (database["multiAz"], database["backupRetentionPeriod"]) == (defaults.multi_az, defaults.backup_retention_days)
    assert by_type["aws:rds/instance:Instance"].protect
    assert by_type["aws:kms/key:Key"].inputs["deletionWindowInDays"] == 30
    assert len([row for row in all_components if row.type == "aws:ec2/networkAcl:NetworkAcl"]) == 3
    assert by_type["aws:ecs/service:Service"].inputs["deploymentCircuitBreaker"] == {"enable": True, "rollback": True}


def facade(name: str) -> Facade:
    return next(row for row in FACADES if row.name == name)


@pytest.mark.parametrize(
    ("name", "changes", "key"),
    [
        ("Database", {"environment": "production"}, "environment"),
        (
            "Database",
            {"database": {"instance_class": "large", "storage_gib": 100, "storage_max_gib": 200}},
            "database.instance_class",
        ),
        (
            "Database",
            {"database": {"instance_class": "db.m7g.large", "storage_gib": 100, "storage_max_gib": 200, "multi_az": False}},
            "database.multi_az",
        ),
        ("KmsKey", {"data_class": "public"}, "data_class"),
        ("KmsKey", {"alias": pulumi.Output.from_input("data")}, "alias"),
    ],
)
async def test_invalid_input_is_rejected_by_name(name: str, changes: dict[str, Any], key: str) -> None:
    inputs = {re.sub(r"([A-Z])", r"_\1", field).lower(): value for field, value in INPUTS[name].items() if field != "logs"}
    inputs = {**inputs, "placement": {"subnet_ids": ["a"], "security_group_id": "b"}, **changes}
    with pytest.raises(PackageError, match=re.escape(key)):
        facade(name).arguments(facade(name).values(inputs))


def uses(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Token, properties and name of each component of the package in a YAML program."""
    for name, row in document["resources"].items():
        if row["type"].startswith("gatehouse:"):
            yield f"gatehouse:index:{row['type'].partition(':')[2]}", row["properties"], name


def test_example_in_yaml_creates_the_components(tmp_path: Path) -> None:
    document = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    assert (EXAMPLE.parent / document["packages"]["gatehouse"] / "PulumiPlugin.yaml").is_file()
    assert len(list(uses(document))) == 4
    for token, properties, name in uses(document):
        assert set(properties) <= set(SCHEMA["resources"][token]["inputProperties"]), name
        assert set(SCHEMA["resources"][token]["requiredInputs"]) <= set(properties), name
    resources, outputs = deploy(tmp_path, document)
    encryption = {row.name: row.inputs for row in resources if row.type.endswith(":BucketServerSideEncryptionConfiguration")}
    (rule,) = encryption["uploads"]["rules"]
    assert rule["applyServerSideEncryptionByDefault"] == {"kmsMasterKeyId": "arn:aws:mock:::key", "sseAlgorithm": "aws:kms"}
    (logging,) = (row.inputs for row in resources if row.type == "aws:s3/bucketLogging:BucketLogging")
    policies = {row.name: row.inputs["policy"] for row in resources if row.type == "aws:s3/bucketPolicy:BucketPolicy"}
    assert logging["targetBucket"] == "access-logs-id"
    assert "logging.s3.amazonaws.com" in policies["access-logs"]
    assert outputs == {"accountGuards": "external", "bucket": "uploads-id", "vpc": "vpc-id"}
