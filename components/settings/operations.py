"""Settings of alarms, cost, the account, delivery, and the external systems to which the runtime
connects.
"""

from typing import Annotated

from components.settings.fields import (
    ARN,
    EMAILS,
    KMS_KEY,
    STATE_BUCKET,
    Flag,
    Production,
    Section,
    by_environment,
    by_profile,
    integer,
    optional,
    prod_requires,
    string,
    strings,
)
from components.settings.network import PRIVATE_NETWORKS
from components.settings.workloads import EXTERNAL_ARN_PATTERN, EXTERNAL_ARN_WORDS

GITHUB_ID = optional(r"[1-9][0-9]{0,19}", "the numeric ID on GitHub, in quotes")
CERTIFICATE = optional(
    rf"{ARN}:acm:[a-z0-9-]+:\d{{12}}:certificate/[a-f0-9-]{{36}}", "the ARN of an ACM certificate"
)
PIPELINE_ROLES = ("deploy", "image", "preview")
GITHUB = "token.actions.githubusercontent.com"
ROLES = "owner|operator|issuer|auditor|service"
SITE = optional(
    r"(?=.{1,200}\Z)https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*",
    'an https URL without a trailing slash, such as "https://docs.example.com/gatehouse"',
)
HTTPS_URL = optional(r"https://[^/\s]+\S*", "an https URL")
LEGACY_FILES = strings(
    r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^\s,*?$]+\.json",
    0,
    10,
    "S3 objects, such as s3://old-bucket/api_keys.json",
)
VARIABLES = strings(
    r"(GATEHOUSE_[A-Z_]+|(?i:(https?|all|no)_proxy))=\S.*",
    0,
    30,
    "entries of the form VARIABLE=value",
)


class MonitoringSettings(Section):
    """Alarms, security findings and the synthetic probe."""

    emails: Annotated[
        tuple[str, ...], EMAILS, Production("at least one e-mail address, to receive alarms", bool)
    ] = ()
    """E-mail addresses that receive pages and tickets. Each recipient must confirm two
    subscriptions, with `heartbeat` three."""
    slack_channel: Annotated[
        str | None,
        optional(
            r"T[A-Z0-9]{2,20}/[CG][A-Z0-9]{2,20}",
            "the IDs of a Slack workspace and channel, such as T0123ABCD/C0123ABCD",
        ),
    ] = None
    """Slack channel that receives pages and tickets from Amazon Q Developer in chat applications.
    Authorize the workspace in its console, and invite the app to the channel. Each stack of an
    account needs a channel of its own."""
    pager_url: Annotated[str | None, HTTPS_URL] = None
    """HTTPS endpoint of a pager, such as PagerDuty or Opsgenie, which receives pages only and
    confirms its subscription itself. Its host must be in `hosts` of `policies.toml`. Whoever knows
    the URL can raise incidents."""
    unread_alarms: Annotated[Flag, prod_requires(True)] = by_profile(True, small=False)
    """Creates alarms also if there is no subscriber: no e-mail address, channel or pager. The
    alarms that roll back a deployment always exist."""
    runbooks_url: Annotated[
        str,
        string(
            r"https://[^\s/]+(/[^\s/]+)+",
            'an https URL without a trailing slash, such as "https://example.com/docs/runbooks"',
        ),
    ]
    """URL at which your team can read docs/runbooks. Every alarm contains a link to its runbook."""
    security_findings: Flag = by_environment(False, False, True)
    """Raises alarms on findings of GuardDuty (severity 4.0 or higher), Security Hub
    (HIGH and CRITICAL) and IAM Access Analyzer in the account and region."""
    denied_requests_alarm_threshold: Annotated[
        int, integer(1, 1_000_000, "denied requests in five minutes")
    ] = by_environment(1_000, 2_000, 5_000)
    """Alarm threshold of requests in five minutes that the gateway denies because of their API key,
    and of those that the web ACL blocks.
    """
    denied_links_alarm_threshold: Annotated[
        int, integer(1, 1_000_000, "denied requests in five minutes")
    ] = by_environment(50, 50, 200)
    """Alarm threshold of requests in five minutes that the sharing service denies because their
    link is unknown or no longer works."""
    error_alarm_threshold: Annotated[
        int, integer(1, 100_000, "failed requests in five minutes")
    ] = by_environment(50, 20, 10)
    """Number of requests up to which no alarm is raised: those that the load balancer answers with
    5xx itself within five minutes, and failed or slow requests of a service.
    """
    probe: Annotated[Flag, prod_requires(True)] = True
    """Runs the synthetic probe, which requests each service and uses the canary key every minute.
    Two consecutive failures raise an alarm. `make deploy` verifies a deployment with it."""

    heartbeat: Flag = by_environment(False, False, True)
    """Creates an alarm in `second_region`, which pages if the synthetic probe has not reported to
    it in eight of ten minutes that everything is up: the region is lost, or there
    is an outage whose pages nobody received or acted on. Confirm the subscriptions of its topic."""

    @property
    def creates_alarms(self) -> bool:
        return self.unread_alarms or bool(self.emails or self.slack_channel or self.pager_url)


class BudgetSettings(Section):
    """Budget of the stack."""

    monthly_usd: Annotated[int, integer(1, 1_000_000, "USD a month")]
    """Monthly budget in USD. Notifications are sent at 80 and 100 percent, and when the forecast
    exceeds it.
    """


class ExistingResourcesSettings(Section):
    """Resources of the account that the stack uses instead of creating its own. The stack neither
    changes nor deletes them. Set them before the first deployment, because a later change replaces
    resources of the stack."""

    zone_id: Annotated[
        str | None,
        optional(
            r"[A-Z0-9]{1,32}", "the ID of a public hosted zone, such as Z0123456789ABCDEFGHIJ"
        ),
    ] = None
    """Public hosted zone in which the stack creates its records. Its name is `domain` or a parent
    domain."""
    foreign_zone: Flag = False
    """Another account or provider has the zone: the stack creates neither zone nor records. The
    stack output `records` has the records to create. Requires `certificate_arn`."""
    certificate_arn: Annotated[str | None, CERTIFICATE] = None
    """ACM certificate in `region` for the subdomains gateway, console and sharing of `domain`, such
    as a wildcard certificate, and for the wildcard name of `cores_domain`. A wildcard name covers
    one label. If empty, the stack requests a certificate."""
    vpc_id: Annotated[
        str | None,
        optional(r"vpc-[0-9a-f]{8,17}", "the ID of a VPC, such as vpc-0123456789abcdef0"),
    ] = None
    """VPC in which the stack creates its own subnets. `network.cidr` is a block of the VPC without
    subnets. DNS support and DNS host names are enabled. If the VPC has interface endpoints with
    private DNS names, set `network.endpoint_zones` to none."""
    internet_gateway_id: Annotated[
        str | None,
        optional(
            r"igw-[0-9a-f]{8,17}", "the ID of an internet gateway, such as igw-0123456789abcdef0"
        ),
    ] = None
    """Internet gateway of the VPC in `vpc_id`."""
    permissions_boundary_arn: Annotated[
        str | None,
        optional(rf"{ARN}:iam::\d{{12}}:policy/[\w+=,.@/-]+", "the ARN of a managed policy"),
    ] = None
    """Permissions boundary of every role. It replaces the boundaries of the stack and of the
    pipeline, so it should deny what these deny ([permissions.md](permissions.md))."""
    role_path: Annotated[
        str, string(r"/([\w+=,.@-]+/){0,5}", "a path that begins and ends with a slash")
    ] = "/"
    """Path of the IAM roles."""
    trail: Flag = False
    """The account has a CloudTrail trail with alarms, for example that of another stack: AWS allows
    five trails in a region. The stack creates neither. That trail records data events only of the
    resources that it selects."""
    log_policies: Flag = False
    """Another Gatehouse stack in the account and region has created the two resource policies of
    CloudWatch Logs that allow log delivery for all stacks: AWS allows ten policies in a region."""


class DeliverySettings(Section):
    """IAM roles for deployments from GitHub Actions or another CI system that issues OIDC tokens,
    without access keys."""

    repository: Annotated[
        str | None,
        optional(
            r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}",
            "owner/repository on GitHub, such as example/gatehouse",
        ),
    ] = None
    """GitHub repository whose jobs may assume the roles preview, deploy and image, each from
    separate GitHub environments: <environment>-preview and <environment>-drift, <environment>, and
    <environment>-image. If empty, no roles are created."""
    owner_id: Annotated[str | None, GITHUB_ID] = None
    """ID of the owner of the repository on GitHub, in quotes. The subject of the jobs of newer
    repositories contains both IDs. `make bootstrap` reads them."""
    repository_id: Annotated[str | None, GITHUB_ID] = None
    """ID of the repository on GitHub, in quotes."""
    issuer: Annotated[
        str,
        string(
            r"[a-z0-9-]+(\.[a-z0-9-]+)+(:\d+)?(/[\w-]+)*",
            "an issuer without https://, such as gitlab.com",
        ),
    ] = GITHUB
    """Issuer of the tokens of the jobs: on GitHub Enterprise Server, `<host>/_services/token`; on
    GitLab, the host. AWS must be able to read `/.well-known/openid-configuration` there."""
    subjects: Annotated[
        tuple[str, ...],
        strings(r"(preview|deploy|image)=[^\s*?]+", 0, 20, "entries of the form role=subject"),
    ] = ()
    """Claims `sub` of the jobs that may assume each role, instead of those of GitHub's
    environments, such as deploy=project_path:acme/gatehouse:ref_type:branch:ref:main. Everyone who
    can start a job with this subject can use the role."""
    create_oidc_provider: Flag = False
    """Creates the IAM OIDC identity provider for `issuer`. Enable it in exactly one stack for each
    account; the other stacks use the same provider."""
    state_bucket: Annotated[str | None, STATE_BUCKET] = None
    """S3 bucket for Pulumi's state. Each role can access only the objects of this stack. Create the
    bucket first. If empty, Pulumi Cloud stores the state."""
    state_key_arn: Annotated[str | None, KMS_KEY] = None
    """KMS key of the state bucket or of the stack's secrets provider."""


class OidcSettings(Section):
    """OpenID Connect: sign-in to the console with JWTs from your identity provider."""

    issuer: Annotated[str | None, HTTPS_URL] = None
    """Issuer of the JWTs, as in the claim `iss`. If empty, users sign in with API keys only."""
    issuer_networks: Annotated[tuple[str, ...], PRIVATE_NETWORKS] = ()
    """Private networks in which the issuer has its addresses, on port 443. The issuer then requires
    no internet access. Its certificate is of a public CA, such as one of ACM."""
    audience: Annotated[
        str | None, optional(r"\S{1,200}", "1 to 200 characters without spaces")
    ] = None
    """Client ID of Gatehouse at the issuer, as in the claim `aud`."""
    claim: Annotated[
        str, string(r"[\w.:/-]{1,100}", "the name of a claim; a dot selects a nested claim")
    ] = "groups"
    """Claim that lists the groups or roles of a user, such as groups or realm_access.roles."""
    roles: Annotated[
        tuple[str, ...],
        strings(rf"[^,\s][^,]*=({ROLES})", 0, 50, f"entries of the form value=role ({ROLES})"),
    ] = ()
    """Mapping of claim values to roles, such as platform=owner."""
    client_id: Annotated[
        str | None, optional(r"[!-~]{1,200}", "1 to 200 characters without spaces")
    ] = None
    """Client ID of the console's web UI, often the same as `oidc.audience`. If empty, users paste a
    credential or open a sign-in link."""
    client_secret_arn: Annotated[str | None, optional(EXTERNAL_ARN_PATTERN, EXTERNAL_ARN_WORDS)] = (
        None
    )
    """Secret of the client, encrypted under the stack's KMS key for secrets. If empty, the console
    is a public client, which authenticates with PKCE only."""
    scopes: Annotated[
        str, string(r"([!-~]+ )*openid( [!-~]+)*", "scopes separated by spaces, including openid")
    ] = "openid profile"
    """Scopes of the sign-in to the web UI. Some issuers require a scope for the claim with the
    groups, such as groups.
    """


class NotificationsSettings(Section):
    """Webhooks, e-mails and the SNS topic for API key events."""

    public_webhooks: Flag = True
    """Allows the console to connect to public IP addresses, over HTTPS only. If false, webhooks to
    public addresses fail. To disable webhooks, set `GATEHOUSE_FEATURES=webhooks=off` in
    environment_variables."""
    webhook_networks: Annotated[tuple[str, ...], PRIVATE_NETWORKS] = ()
    """Private networks to which webhooks can be delivered, on port 443."""
    topic_arn: Annotated[
        str | None,
        optional(
            rf"{ARN}:sns:[a-z0-9-]+:\d{{12}}:[A-Za-z0-9_-]{{1,256}}", "the ARN of an SNS topic"
        ),
    ] = None
    """SNS topic to which the console publishes the same events. The topic must be in the stack's
    region, and its KMS key must allow access by the console's task role."""
    email_sender: Annotated[
        str | None,
        optional(r"[a-z0-9._+-]{1,64}@[a-z0-9-]+(\.[a-z0-9-]+)+", "an e-mail address in lowercase"),
    ] = None
    """E-mail address from which the console sends e-mails to the contacts of keys. The address or
    its domain must be a verified identity of Amazon SES in the stack's region. While the account is
    in the SES sandbox, recipients must be verified too."""
