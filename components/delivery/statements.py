"""Reads the statements of the pipeline's policies from policies.toml."""

from typing import Any

from components import tables
from components.context import Stack
from components.iam.documents import Statement, action_list, allow
from components.iam.role_policies import TRAIL_LOG
from components.iam.sharing_policies import OPEN
from components.naming import DEPLOY, PREVIEW, PROJECT, WEB_UI_BUCKET

GLOBAL_REGION = "us-east-1"
"""Value of aws:RequestedRegion for IAM, Route 53, AWS Budgets and Cost Explorer. Source: the
endpoints and signing regions of botocore."""
IMAGE = "image"
CREATE_NETWORK = (
    "CreateVpc CreateSubnet CreateRouteTable CreateInternetGateway CreateNatGateway "
    "CreateNetworkAcl CreateSecurityGroup CreateVpcEndpoint CreateFlowLogs AllocateAddress"
)
TAGGING_CALLS = [
    *CREATE_NETWORK.split(),
    "AuthorizeSecurityGroupIngress",
    "AuthorizeSecurityGroupEgress",
]
"""Security group rules are tagged when they are added to a group."""
ROWS = tables.read(__file__, "policies.toml")


class Delivery:
    """Conditions and statements for the policies of a stack's pipeline."""

    def __init__(self, stack: Stack) -> None:
        self.settings, self.names = stack.settings, stack.names
        self.hosts = stack.contract.host_patterns

    @property
    def region_condition(self) -> dict[str, dict[str, Any]]:
        """Return the condition that a request is sent to one of the stack's regions."""
        regions = {self.names.region, GLOBAL_REGION, self.settings.replica_region} - {""}
        return {"StringEquals": {"aws:RequestedRegion": sorted(regions)}}

    def tag_condition(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the condition that a "resource" or a "request" has the stack's tags. A request for
        a resource with tags of others does not meet the condition, because it would take the
        resource over.
        """
        tags = {"Project": PROJECT, "Environment": self.names.stack}
        of_resource = {f"aws:ResourceTag/{name}": value for name, value in tags.items()}
        of_request = {f"aws:RequestTag/{name}": value for name, value in tags.items()}
        region = self.region_condition["StringEquals"]
        if kind == "resource":
            return {"StringEquals": region | of_resource}
        return {"StringEquals": region | of_request, "StringEqualsIfExists": of_resource}

    def statements(self, policy: str, **values: str) -> list[Statement]:
        """Return the statements of a policy in policies.toml. values: further ones."""
        known = self._values() | values
        return [self._statement(row) for row in tables.rows(ROWS[policy], known)]

    def _statement(self, row: dict[str, Any]) -> Statement:
        conditions: dict[str, dict[str, Any]] = {}
        if "tags" in row:
            conditions = self.tag_condition(row["tags"])
        elif "region" in row:
            conditions = self.region_condition
        for operator, keys in row.get("conditions", {}).items():
            conditions[operator] = conditions.get(operator, {}) | keys
        actions = [action for text in row["actions"] for action in action_list(text.strip())]
        statement = allow(row["sid"], actions, row.get("resources", ["*"]), conditions=conditions)
        return statement | {"Effect": row.get("effect", "Allow")}

    def _values(self) -> dict[str, Any]:
        """Return the values for which the names in policies.toml stand. A list in a list stands for
        its elements.
        """
        names, settings, cloudfront = self.names, self.settings, self.settings.services.cloudfront
        # Uploads of the files of the web UI use the key of their bucket.
        using_keys = ["backup", "dynamodb", "ecr", "elasticache", "lambda", "rds"]
        using_keys += ["secretsmanager", *(["s3"] if cloudfront else [])]
        hosts = [host.removeprefix("*.") for row in self.hosts.values() for host in row]
        (sharing,) = (f"/domainnames/{host}" for host in self.hosts[OPEN])
        tags = f"/tags/*{sharing.removeprefix('/domainnames/')}"
        paths = ("/restapis/*", "/tags/*restapis*", sharing, f"{sharing}/*", tags)
        own_roles = [names.role_arn(role) for role in (PREVIEW, DEPLOY, IMAGE, TRAIL_LOG)]
        return {
            "names": names,
            "account": names.account,
            "region": names.region,
            "stack": names.stack,
            "project": PROJECT,
            "all": names.name("*"),
            "prefix": names.name(""),
            "roles": names.role_arn("*"),
            "administrators": [*own_roles, *settings.secrets.operators],
            "secrets": names.secret_arn("*").removesuffix("-??????"),
            "web_ui": names.bucket_arn(WEB_UI_BUCKET),
            "trail_bucket": names.bucket_arn("trail"),
            "trail_group": names.log_group("trail"),
            "log_groups": [
                names.any_arn("logs", f"log-group:{group}{suffix}", "*")
                for suffix in ("", ":*")
                for group in names.log_groups
            ],
            "rest_apis": [names.any_arn("apigateway", path, names.region, "") for path in paths],
            "record_names": [name for host in hosts for name in (host, f"*.{host}")],
            "via_services": [
                service
                for region in sorted({names.region, settings.replica_region} - {""})
                for service in names.in_region(region).via_services(using_keys)
            ],
            "create_network": f"ec2:{CREATE_NETWORK}",
            "tagging_calls": TAGGING_CALLS,
            "vpc": settings.existing_resources.vpc_id,
            "cloudfront": cloudfront,
            "cloudfront_service": ["vpcorigin.cloudfront.amazonaws.com"] if cloudfront else [],
            "read_cloudfront": ["cloudfront:Describe* Get* List*"] if cloudfront else [],
            "read_deliveries": ["logs:GetDelivery*"] if cloudfront else [],
            "slack_channel": settings.monitoring.slack_channel,
            "state_bucket": settings.delivery.state_bucket,
            "state_key": settings.delivery.state_bucket and settings.delivery.state_key_arn,
        }
