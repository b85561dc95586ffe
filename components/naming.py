"""Names, ARNs and tags of every resource.

Names are derived from stack, account and region, so policy documents are known at preview.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from components.settings.account import AccountSettings
from components.settings.fields import NAME_PREFIX
from components.settings.model import Settings

PROJECT = "gatehouse"
"""Name of the Pulumi project, and value of the tag Project."""
ACCOUNT = "account"
"""Second part of the names of the resources that belong to a whole account, and their tag
Environment.
"""
CLOUDFRONT_REGION = "us-east-1"
"""Region of the certificate, web ACL and log delivery of a distribution. Source: CloudFront
Developer Guide, "AWS services that you can use with CloudFront"."""
CHAT_REGION = "us-east-2"
"""Region of the API of Amazon Q Developer in chat applications, a global service."""
PAGES, TICKETS = "pages", "tickets"
"""Resource names of the topics for alarms, which are also the severities of an alarm."""
NOTICES = {"event": "events", "database": "events.rds", "backup": "backup", "budget": "budgets"}
"""The AWS service that publishes to a topic for notices, keyed by kind of notice."""
WEB_UI_BUCKET = "web-ui"
"""Resource name of the bucket for the files of the console's web UI."""
PREVIEW, DEPLOY = "preview", "deploy"
"""Resource names of the pipeline's roles that read the configuration of the stack."""
REPLICATION_RULE = "all-objects"
"""ID of the replication rule of the data bucket, a dimension of its metrics."""
DataClass = Literal["none", "internal", "confidential", "secret", "log"]
"""Value of the tag DataClass.

none: no data. internal: configuration. confidential: user data. secret: credentials and keys. log:
logs, CloudTrail files and audit checkpoints.
"""


@dataclass(frozen=True)
class Naming:
    """The names of a stack. `resource`, `kind` and `process` are hyphenated lowercase words.

    prefix: Beginning of every name.
    role_path: Path of the IAM roles.
    permissions_boundary: ARN of a boundary that exists; None for that of the stack.
    """

    stack: str
    account: str
    region: str
    prefix: str = NAME_PREFIX
    role_path: str = "/"
    permissions_boundary: str | None = None

    def in_region(self, region: str) -> "Naming":
        return replace(self, region=region)

    def of_stack(self, stack: str) -> "Naming":
        return replace(self, stack=stack)

    def name(self, resource: str) -> str:
        """`gatehouse-dev-gateway`"""
        return f"{self.prefix}-{self.stack}-{resource}"

    def bucket(self, resource: str) -> str:
        """`gatehouse-dev-logs-123456789012-eu-west-1`. Bucket names must be globally unique."""
        return f"{self.name(resource)}-{self.account}-{self.region}"

    def secret(self, kind: str) -> str:
        return f"{self.prefix}/{self.stack}/{kind}"

    @property
    def namespace(self) -> str:
        return f"{PROJECT.capitalize()}/{self.stack}"

    def log_group(self, process: str) -> str:
        return f"/{self.prefix}/{self.stack}/{process}"

    @property
    def waf_log_group(self) -> str:
        """The log group of the web ACL. AWS WAF requires the prefix `aws-waf-logs-` (AWS WAF
        developer guide, "CloudWatch Logs destinations")."""
        return f"aws-waf-logs-{self.name('edge')}"

    @property
    def edge_log_bucket(self) -> str:
        """The bucket for logs of the distribution and its web ACL. AWS WAF requires the prefix
        `aws-waf-logs-` (AWS WAF developer guide, "Amazon S3 destinations")."""
        name = f"aws-waf-logs-{self.bucket('edge')}"
        # S3 allows 63 characters. The shorter name applies only where the other one cannot exist,
        # because another name replaces the bucket.
        return name if len(name) <= 63 else name.replace("-edge-", "-")

    @property
    def log_groups(self) -> tuple[str, ...]:
        return self.log_group("*"), self.waf_log_group, self.database_log_group("*")

    def notice_topic(self, kind: str) -> str:
        return self.name(f"{kind}-notices")

    @property
    def topics(self) -> tuple[str, ...]:
        """The names of all topics."""
        return *map(self.name, (PAGES, TICKETS)), *map(self.notice_topic, NOTICES)

    def dead_letter_queue(self, function: str) -> str:
        return self.name(f"{function}-failed")

    def cache_nodes(self, count: int) -> tuple[str, ...]:
        """`gatehouse-dev-cache-001` and so on. ElastiCache defines these node IDs."""
        return tuple(f"{self.name('cache')}-{number:03d}" for number in range(1, count + 1))

    def database_log_group(self, kind: str) -> str:
        """`/aws/rds/instance/gatehouse-dev-main/postgresql`. RDS defines this name."""
        return f"/aws/rds/instance/{self.name('main')}/{kind}"

    def alias(self, data_class: str) -> str:
        return f"alias/{self.name(data_class)}"

    def via_services(self, services: Iterable[str]) -> list[str]:
        """Values of the condition key kms:ViaService."""
        return [f"{service}.{self.region}.amazonaws.com" for service in services]

    def endpoint_service(self, service: str) -> str:
        return f"com.amazonaws.{self.region}.{service}"

    def console_url(self, service: str, page: str) -> str:
        return f"https://{self.region}.console.aws.amazon.com/{service}/home?region={self.region}#{page}"

    @property
    def registry(self) -> str:
        return f"{self.account}.dkr.ecr.{self.region}.amazonaws.com"

    def arn(self, service: str, resource: str) -> str:
        return self.any_arn(service, resource, self.region)

    def any_arn(
        self, service: str, resource: str, region: str = "", account: str | None = None
    ) -> str:
        """ARN of a resource in any region, or of a global service; account: by default the account
        of the stack.
        """
        return (
            f"arn:aws:{service}:{region}:{self.account if account is None else account}:{resource}"
        )

    def s3_arn(self, resource: str) -> str:
        """ARN of a bucket, or of objects as `<bucket>/<key>`. ARNs of Amazon S3 contain neither
        region nor account.
        """
        return self.any_arn("s3", resource, account="")

    @property
    def root_arn(self) -> str:
        """The account as a principal. A statement with this principal delegates access control to
        IAM policies of the account.
        """
        return self.any_arn("iam", "root")

    def role_arn(self, resource: str) -> str:
        return self.any_arn("iam", f"role{self.role_path}{self.name(resource)}")

    @property
    def boundary_arn(self) -> str:
        """ARN of the permissions boundary of every role of the stack, by default
        `gatehouse-dev-boundary`."""
        return self.permissions_boundary or self.any_arn("iam", f"policy/{self.name('boundary')}")

    def bucket_arn(self, resource: str) -> str:
        return self.s3_arn(self.bucket(resource))

    def secret_arn(self, kind: str) -> str:
        """ARN pattern of one secret. Secrets Manager appends a hyphen and six random characters to
        the name.
        """
        return self.arn("secretsmanager", f"secret:{self.secret(kind)}-??????")

    @property
    def managed_secret_arn(self) -> str:
        """ARN pattern of the secrets that RDS manages. A statement with this pattern must also
        require the tag that names the database."""
        return self.arn("secretsmanager", "secret:rds!db-*")

    @property
    def database_arn(self) -> str:
        return self.arn("rds", f"db:{self.name('main')}")

    def log_group_arn(self, group: str) -> str:
        return self.arn("logs", f"log-group:{group}")

    def table_arn(self, resource: str) -> str:
        return self.arn("dynamodb", f"table/{self.name(resource)}")

    @property
    def distributions_arn(self) -> str:
        """ARN pattern of the CloudFront distributions of the account."""
        return self.any_arn("cloudfront", "distribution/*")

    @property
    def core_zone(self) -> str:
        """`cores.gatehouse-dev.internal`, the private DNS zone of the Cores of the stack."""
        return f"cores.{self.prefix}-{self.stack}.internal"


def default_tags(settings: Settings | AccountSettings) -> dict[str, str]:
    """Return the default tags of the provider. Resources override DataClass."""
    return {
        "Project": PROJECT,
        "Environment": settings.stack if isinstance(settings, Settings) else ACCOUNT,
        "Owner": settings.owner,
        "CostCentre": settings.cost_centre,
        "ManagedBy": "pulumi",
        "DataClass": "none",
        **dict(entry.split("=", 1) for entry in settings.tags),
    }


def tags(data_class: DataClass, **more: str) -> dict[str, str]:
    return {"DataClass": data_class, **more}
