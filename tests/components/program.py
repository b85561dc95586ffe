"""Runs the program for one stack with fixed outputs instead of AWS."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pulumi_local.aws_location import AwsLocation
from pulumi_local.outputs.lookup_results import invoke
from pulumi_local.runner import run as run_program
from pulumi_local.type_tokens import aws, by_token
from pulumi_local.types import Deployment, Registration

from sandbox.errors import SandboxError
from tests.cases import cases
from tests.components.settings.stack_settings import CORE, raw_settings

_CASES = cases(__file__)

ROOT = Path(__file__).parent.parent.parent
POLICY_CHARACTERS_MAX = 6144
"""Maximum size of a managed policy, without white space (IAM User Guide, "IAM and AWS STS
quotas").
"""
PROVIDER_OUTPUTS: dict[str, dict[str, Any]] = _CASES["provider_outputs"]
"""Outputs of some resource types, keyed by class. Every resource also gets an ARN."""
ZONE = "Z0123456789ABCDEFGHIJ"
CERTIFICATE = "arn:aws:acm:eu-west-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
VPC = {"vpc_id": "vpc-0123456789abcdef0", "internet_gateway_id": "igw-0123456789abcdef0"}
CLIENT_SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:gatehouse/dev/oidc-AbCdEf"
CORES_DOMAIN = "cores.dev.gatehouse.example.com"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:keys"
LEGACY_FILES = ["s3://old-bucket/api_keys.json", "s3://old-bucket/ngrok_urls.json"]
OPTIONS: dict[str, Any] = {
    "legacy_files": LEGACY_FILES,
    "oidc": {
        "issuer": "https://login.example.com",
        "audience": "gatehouse",
        "roles": ["platform=owner", "on-call=operator"],
        "client_id": "console",
        "client_secret_arn": CLIENT_SECRET,
        "scopes": "openid groups",
    },
    "notifications": {"topic_arn": TOPIC, "email_sender": "keys@example.com"},
    "monitoring.emails": ["team@example.com"],
    "monitoring.slack_channel": "T0123ABCD/C0123ABCD",
    "monitoring.pager_url": "https://events.pagerduty.com/integration/key/enqueue",
    "environment_variables": ["GATEHOUSE_CORE_REQUESTS_MAX=50", "GATEHOUSE_FEATURES=webhooks=off"],
    "cores": [CORE],
    "cores_domain": CORES_DOMAIN,
    "database.engine_version": "18",
    "cache.allow_upgrade": True,
    "rollout": {"strategy": "canary", "smoke_test": True},
}
"""Changes to the settings of dev: external systems, a Core, and another rollout."""
CLOSED: dict[str, Any] = {
    "notifications": {"public_webhooks": False, "webhook_networks": ["10.30.0.0/16"]},
    "existing_resources": {"zone_id": ZONE, **VPC, "trail": True, "log_policies": True},
    "monitoring.probe": False,
    "reserve_function_concurrency": False,
    "recovery.stack": "devdr",
    "rollout": {"strategy": "blue_green", "smoke_test": False},
    "sharing.mode": "serverless",
}
"""Changes to the settings of dev: existing resources, and options that are switched off."""
SUBNETS = {
    tier: [f"subnet-{number}{zone}aaaaaaa" for zone in range(3)]
    for number, tier in enumerate(("edge", "app", "data"))
}


def subnet_cidr(subnet_id: str) -> str:
    """The block of a subnet in `SUBNETS`. They are in two blocks of the VPC."""
    tier, zone = int(subnet_id[7]), int(subnet_id[8])
    return f"100.64.{tier}.{32 * zone}/27" if tier else f"10.20.0.{32 * zone}/27"


COMPANY: dict[str, Any] = {
    "name_prefix": "acme-gw",
    "tags": ["cost:unit=42", "Team=Platform"],
    "secrets.operators": ["arn:aws:iam::123456789012:role/company/operator"],
    "network.cidr": "",
    "network.nat": "none",
    "network.endpoint_zones": "none",
    "network.public_access_exclusions": False,
    "network.zones": ["eu-west-1a", "eu-west-1b", "eu-west-1c"],
    "network.subnets": SUBNETS,
    "load_balancer": {"internal": True, "client_networks": ["10.0.0.0/8", "100.64.0.0/10"]},
    "existing_resources": {
        "foreign_zone": True,
        "certificate_arn": CERTIFICATE,
        "vpc_id": VPC["vpc_id"],
        "permissions_boundary_arn": "arn:aws:iam::123456789012:policy/company/Boundary",
        "role_path": "/company/",
        "trail": True,
        "log_policies": True,
    },
    "oidc": {
        "issuer": "https://login.acme.dev",
        "issuer_networks": ["100.64.8.0/24"],
        "audience": "gatehouse",
        "roles": ["platform=owner"],
    },
    "delivery": {
        "repository": "acme/gatehouse",
        "issuer": "gitlab.acme.dev",
        "subjects": [
            f"{role}=project_path:acme/gatehouse:ref_type:branch:ref:main"
            for role in ("deploy", "preview", "image")
        ],
        "create_oidc_provider": True,
        "state_bucket": "acme-state",
    },
    "notifications.public_webhooks": False,
    "telemetry.collector": False,
}
"""Changes to the settings of any stack: the rules of a company for its accounts."""
TRANSIT: dict[str, Any] = {
    "network.cidr": "100.64.0.0/16",
    "network.core_networks": ["100.96.0.0/16"],
    "existing_resources.trail": True,
    "delivery": {
        "repository": "acme/gatehouse",
        "issuer": "github.acme.dev/_services/token",
        "create_oidc_provider": True,
        "state_bucket": "acme-state",
    },
}
"""Changes to the settings of any stack: its own VPC in shared address space, and GitHub Enterprise
Server."""
CLOUDFRONT: dict[str, Any] = {
    "services.console.hosting": "cloudfront",
    "existing_resources": {"certificate_arn": CERTIFICATE},
    "image.digest": "sha256:" + "1" * 64,
    "load_balancer.grpc": True,
}
"""Changes to the settings of staging: the console behind CloudFront, another image, and gRPC."""
RECOVERY = {"recovery.stack": "proddr"}
"""Change to the settings of prod: data for a stack in the second region."""
CONSOLE_NETWORKS = ["192.0.2.0/24", "2001:db8::/32"]
SECOND = "eu-central-1"
_SECOND_KEY = f"arn:aws:kms:{SECOND}:123456789012:key/"
RESTORE = {
    "stack": "lost",
    "database_backups_arn": f"arn:aws:rds:{SECOND}:123456789012:auto-backup:"
    "ab-l7zdxgqsckyzsyvbzmu5mbv5ajq5yatqtsvjqmd",
    "database_key_arn": f"{_SECOND_KEY}mrk-1234567890abcdef1234567890abcdef",
    "secrets_key_arn": f"{_SECOND_KEY}12345678-1234-1234-1234-123456789012",
}
RESTORED: dict[str, Any] = {
    "region": SECOND,
    "second_region": "eu-west-3",
    "network.zones": [f"{SECOND}{zone}" for zone in "abc"],
    "existing_resources.zone_id": ZONE,
    "recovery.restore": RESTORE,
}
"""Changes to the settings of prod: a stack that replaces the stack `lost`."""


@dataclass(frozen=True)
class Program:
    resources: list[Registration]
    exports: dict[str, Any]

    @classmethod
    def of(cls, deployment: Deployment) -> "Program":
        return cls([row.registration for row in deployment.resources], deployment.exports)

    def of_type(self, kind: str) -> list[Registration]:
        return [resource for resource in self.resources if resource.type in aws(kind)]

    def inputs(self, kind: str) -> dict[str, dict[str, Any]]:
        return {resource.name: resource.inputs for resource in self.of_type(kind)}

    def get(self, kind: str, name: str) -> Registration:
        (resource,) = (resource for resource in self.of_type(kind) if resource.name == name)
        return resource

    def policy(self, kind: str, name: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.get(kind, name).inputs["policy"])
        return document

    def statements(self, kind: str, name: str) -> dict[str, dict[str, Any]]:
        return {statement["Sid"]: statement for statement in self.policy(kind, name)["Statement"]}

    def permissions(self, role: str) -> dict[str, dict[str, Any]]:
        return self.statements("iam.RolePolicy", role)

    def variables(self, task: str) -> dict[str, str]:
        return {entry["name"]: entry["value"] for entry in self.containers(task)[0]["environment"]}

    def containers(self, task: str) -> list[dict[str, Any]]:
        definitions = self.get("ecs.TaskDefinition", task).inputs["containerDefinitions"]
        return list(json.loads(definitions))

    def alarms(self) -> dict[str, dict[str, Any]]:
        return self.inputs("cloudwatch.MetricAlarm")

    def documents(self) -> list[tuple[str, dict[str, Any]]]:
        """Every policy document, by name of its resource. Raises an error for an unknown one."""
        documents = []
        for resource in self.resources:
            for key in ("policy", "assumeRolePolicy", "policyDocument"):
                if resource.type.startswith("aws:") and key in resource.inputs:
                    documents.append(
                        (f"{resource.type} {resource.name} {key}", json.loads(resource.inputs[key]))
                    )
        return documents


def stack_file(stack: str) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())["config"]
    return config


def run(stack: str, *, preview: bool = False, changes: dict[str, Any] | None = None) -> Program:
    """Run the program once. preview: outputs are unknown. changes: values by dotted setting."""
    return run_with(stack, json.dumps(raw_settings(stack, changes)), preview)


def run_as(
    stack: str, folder: Path, *, environment: str, changes: dict[str, Any] | None = None
) -> Program:
    """Run the program as a stack with a separate name and the settings of an environment.

    folder: an empty directory for the project and stack file.
    """
    write_stack(stack, folder, environment=environment, changes=changes)
    deployment = run_program(folder, stack, _Provider(preview=False), preview=False)
    return Program.of(deployment)


def write_stack(
    stack: str, folder: Path, *, environment: str, changes: dict[str, Any] | None = None
) -> None:
    """Write a project with the program of the repository and the settings of an environment."""
    (folder / "Pulumi.yaml").write_text(f"name: gatehouse\nruntime: python\nmain: {ROOT}\n")
    config = stack_file(environment) | {"gatehouse:settings": raw_settings(environment, changes)}
    (folder / f"Pulumi.{stack}.yaml").write_text(yaml.safe_dump({"config": config}))


@cache
def run_with(stack: str, settings: str, preview: bool) -> Program:
    deployment = run_program(
        ROOT, stack, _Provider(preview), preview=preview, config={"gatehouse:settings": settings}
    )
    return Program.of(deployment)


@cache
def run_account(settings: str) -> Program:
    config = {"gatehouse-account:settings": settings}
    deployment = run_program(
        ROOT / "account", "main", _Provider(preview=False), preview=False, config=config
    )
    return Program.of(deployment)


class _Provider:
    """Returns the inputs and, except in a preview, the outputs in `PROVIDER_OUTPUTS`."""

    def __init__(self, preview: bool) -> None:
        self._preview = preview

    def create(self, registration: Registration) -> tuple[str, dict[str, Any]]:
        if self._preview:
            return "", dict(registration.inputs)
        name = registration.name
        outputs = {
            "arn": f"arn:aws:mock:::{name}",
            **registration.inputs,
            **by_token(PROVIDER_OUTPUTS).get(registration.type, {}),
        }
        return f"{name}-id", outputs

    def invoke(
        self, token: str, args: dict[str, Any], provider: Mapping[str, Any]
    ) -> dict[str, Any]:
        if token in aws("ec2.getSubnet"):
            return {"id": args["id"], "cidrBlock": subnet_cidr(args["id"])}
        if token not in aws("ec2.getManagedPrefixList"):
            raise SandboxError(
                f"The program calls {token}, although every other value is in the stack file."
            )
        return invoke(token, args, AwsLocation())
