"""What moto accepts and forgets, written onto moto's own objects, so that a describe call of AWS gives it back.

`sandbox/emulator/moto_patches.py` makes moto answer with the attributes whose names begin with `kept_`; the others it reads itself.
"""

from collections.abc import Mapping
from typing import Any

from moto.awslambda.utils import get_backend as lambda_backend
from moto.ec2.models import ec2_backends
from moto.ecs.models import ecs_backends
from moto.kms.models import kms_backends
from moto.rds.models import rds_backends

from sandbox.emulator.request import Make

_SERVICE = {
    "deploymentConfiguration": "deployment_configuration",
    "availabilityZoneRebalancing": "availability_zone_rebalancing",
    "enableECSManagedTags": "enable_ecs_managed_tags",
    "enableExecuteCommand": "enable_execute_command",
    "healthCheckGracePeriodSeconds": "health_check_grace_period_seconds",
}
_DATABASE = {
    "EnablePerformanceInsights": "performance_insights_enabled",
    "PerformanceInsightsKMSKeyId": "performance_insights_kms_key_id",
    "PerformanceInsightsRetentionPeriod": "performance_insights_retention_period",
    "DatabaseInsightsMode": "database_insights_mode",
}


def ecs_service(make: Make, service: Mapping[str, Any]) -> None:
    """How an ECS service is deployed: circuit breaker, alarms, percentages, rebalancing, grace period."""
    services = ecs_backends[make.account][make.region].services.values()
    held = next(item for item in services if item.arn == service["serviceArn"])
    _set(held, make.sent, _SERVICE)


def database(make: Make, instance: Mapping[str, Any]) -> None:
    """Insights of a database."""
    _set(rds_backends[make.account][make.region].databases[instance["DBInstanceIdentifier"]], make.sent, _DATABASE)


def key_rotation(make: Make, key_id: str, days: int) -> None:
    """The days between two rotations of a KMS key."""
    held: Any = kms_backends[make.account][make.region].keys[key_id]
    held.kept_rotation_days = days


def replica_key(make: Make, key_id: str) -> None:
    """moto's copy of a key for another region shares aliases and grants with the primary; AWS's has its own."""
    held: Any = kms_backends[make.account][make.region].keys[key_id]
    held.aliases, held.grants = {}, {}


def function_logging(make: Make, name: str, version: str) -> None:
    """Where and how a function logs, where its failed calls go, and the same of the version that was published with it."""
    for qualifier in {"$LATEST", version}:
        held: Any = lambda_backend(make.account, make.region).get_function(name, qualifier)
        held.kept_configuration = {key: make.sent[key] for key in ("LoggingConfig", "DeadLetterConfig") if key in make.sent}


def rule_description(make: Make, group: str, rule_id: str, description: str) -> None:
    """The description of a rule for another group or for a prefix list."""
    found: Any = ec2_backends[make.account][make.region].get_security_group_from_id(group)
    for rule in (*found.ingress_rules, *found.egress_rules):
        if rule.id == rule_id:
            rule.kept_description = description


def _set(held: Any, sent: Mapping[str, Any], names: Mapping[str, str]) -> None:
    for member, attribute in names.items():
        if member in sent:
            setattr(held, attribute, sent[member])
