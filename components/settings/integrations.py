"""Settings of the systems outside the stack that the runtime connects to."""

from typing import Annotated

from components.settings.fields import Flag, Section, string, strings
from components.settings.network import PRIVATE_NETWORKS
from components.settings.workloads import EXTERNAL_ARN_PATTERN, EXTERNAL_ARN_WORDS

ROLES = "owner|operator|issuer|auditor|service"
HTTPS_URL = string(r"https://[^/\s]+\S*", "an https URL, or empty", optional=True)
LEGACY_FILES = strings(
    r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^\s,*?$]+\.json", 0, 10, "objects in S3, such as s3://old-bucket/api_keys.json"
)
VARIABLES = strings(r"GATEHOUSE_[A-Z_]+=\S.*", 0, 30, "entries of the form VARIABLE=value")


class OidcSettings(Section):
    """OpenID Connect: sign-in at the console with JWTs of your identity provider."""

    issuer: Annotated[str | None, HTTPS_URL] = None
    """Issuer of the JWTs, as in the claim `iss`. Empty: people sign in with API keys only."""
    audience: Annotated[str | None, string(r"\S{1,200}", "1 to 200 characters without spaces, or empty", optional=True)] = None
    """Client id of Gatehouse at the issuer, as in the claim `aud`."""
    jwks_url: Annotated[str | None, HTTPS_URL] = None
    """URL of the issuer's JSON Web Key Set. Empty: the URL in the issuer's discovery document."""
    claim: Annotated[str, string(r"[\w.:/-]{1,100}", "the name of a claim; a dot selects a member")] = "groups"
    """Claim that lists the roles of a person, such as groups or realm_access.roles."""
    roles: Annotated[tuple[str, ...], strings(rf"[^,\s][^,]*=({ROLES})", 0, 50, f"entries of the form value=role ({ROLES})")] = ()
    """Role that each value of the claim gives, such as platform=owner."""


class NotificationsSettings(Section):
    """Webhooks and the SNS topic for events of keys."""

    public_webhooks: Flag = True
    """The console may connect to public addresses, over HTTPS only. If false, webhooks to public addresses fail; disable
    webhooks with GATEHOUSE_FEATURES=webhooks=off in environment_variables."""
    webhook_networks: Annotated[tuple[str, ...], PRIVATE_NETWORKS] = ()
    """Private networks that webhooks may address, on port 443."""
    topic_arn: Annotated[
        str | None,
        string(r"arn:aws:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}", "the ARN of an SNS topic, or empty", optional=True),
    ] = None
    """SNS topic to which the console publishes the same events. It must be in the stack's region, and its KMS key must allow the
    console's task role. Empty: no topic."""


class LeakReportsSettings(Section):
    """Reports of leaked API keys."""

    secret_arn: Annotated[str | None, string(EXTERNAL_ARN_PATTERN, f"{EXTERNAL_ARN_WORDS}, or empty", optional=True)] = None
    """Secret with which scanners other than GitHub's sign their reports (Standard Webhooks: whsec_ and Base64). Create it once,
    encrypted under the stack's KMS key for secrets. Empty: such reports are rejected."""
