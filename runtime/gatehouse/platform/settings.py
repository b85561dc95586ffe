"""Typed, immutable settings of the runtime, read once from environment variables.

`runtime/contract.toml` declares the settings that stacks set. Only the composition roots and the
command line read settings. `make docs` reads the docstrings of the fields.
"""

import ipaddress
import os
import re
from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from gatehouse.core.errors import Problem, SettingsError
from gatehouse.core.features import FEATURES, switched
from gatehouse.core.keys import KeyEnvironment, RateLimit
from gatehouse.core.log_levels import Level
from gatehouse.core.roles import Role

PREFIX = "GATEHOUSE_"

#: Variables of the command line (cli/), which are not settings of a service.
CLI_VARIABLES = frozenset(
    f"GATEHOUSE_{name}" for name in ("ADMIN_TOKEN", "CORE_TOKEN", "OUTPUT", "PROFILE")
)

#: Variable of prometheus_client that specifies the folder in which the workers of a service
#: aggregate their metrics. The variable must be set before prometheus_client is imported.
METRICS_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

#: Interval in seconds at which a process publishes values to CloudWatch.
PUBLISH_S = 15.0

#: Behavior of rate limits while Redis is unavailable.
OnError = Literal["local", "deny"]

#: Authentication to PostgreSQL.
DatabaseAuth = Literal["iam", "password", "password_or_iam", "url"]

Port = Annotated[int, Field(ge=1, le=65535)]


class Agreement(Enum):
    """Whether all processes of a deployment have the same value of a setting. They compare it at
    their start (platform/db/deployment.py), if it is set. Every secret has a decision.
    """

    SAME = "same"
    #: A secret with generations (`read_pepper`), of which a process may have only some.
    GENERATIONS = "generations"
    #: The secret of a dependency, which checks it, or one that a rotation replaces at once.
    MAY_DIFFER = "may differ"


_Same = Agreement.SAME
_Generations = Annotated[SecretStr | None, Agreement.GENERATIONS]
_KEY_PREFIX = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")

#: Token prefixes of GitHub, Stripe and Slack. The secret scanners of these issuers search for these
#: prefixes.
_RESERVED_PREFIXES = ("ghp", "gho", "ghu", "ghs", "ghr", "sk", "pk", "rk", "xox")


def _check_key_prefix(value: str) -> str:
    if not _KEY_PREFIX.fullmatch(value) or len(value) > 16:
        raise ValueError(
            "must be 1 to 16 lowercase letters, digits and single underscores, such as gtk or "
            "acme_sk"
        )
    if value.split("_")[0] in _RESERVED_PREFIXES or value.startswith("xox"):
        raise ValueError(
            "is reserved: the leak scanners of another issuer would report the tokens; choose "
            "another prefix"
        )
    return value


def _matching(pattern: str, message: str) -> AfterValidator:
    """Accepts an empty text, and text that matches the pattern as a whole."""

    def check(value: str) -> str:
        if value and not re.fullmatch(pattern, value):
            raise ValueError(message)
        return value

    return AfterValidator(check)


_CORES_DOMAIN = _matching(
    r"(?=.{1,200}(?::|\Z))[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*"
    r"(?::[1-9][0-9]{0,4})?",
    "must be a domain in lowercase with an optional port, such as cores.example.com or "
    "localhost:8080",
)
_TRACES_ENDPOINT = _matching(
    r"https?://[^/\s@?#]+/[^\s?#]*",
    "must be the http:// or https:// URL of a collector with its path, such as "
    "http://127.0.0.1:4318/v1/traces",
)
_ISSUER = _matching(
    r"https://[^/\s]+\S*|http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?(/\S*)?",
    "must be an https:// URL (http:// for localhost only)",
)
_SITE = _matching(
    r"(?=.{1,200}\Z)https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~-]+)*",
    "must be an https:// URL without a trailing slash, such as https://docs.example.com/gatehouse",
)
_COLOUR = _matching(r"#[0-9A-Fa-f]{6}", "must be a colour such as #0b5c4a")
_FILE = _matching(r"/.+", "must be the absolute path of a file")
_CHECKPOINT_ARCHIVE = _matching(
    r"s3://[a-z0-9.-]{3,63}(/[A-Za-z0-9/._-]*)?|file:/.+",
    "must be s3://bucket/prefix/ or file:/path",
)

_SENDER = _matching(r"[^@\s<>,]+@[^@\s<>,]+", "must be an e-mail address, such as keys@example.com")
_NAMESPACE = _matching(
    "[A-Za-z0-9._/#:-]{1,255}",
    "must be at most 255 letters, digits and . _ / # : -, such as Gatehouse/prod",
)
_OIDC_SCOPES = _matching(
    r"(?:(?!openid(?: |\Z))[\x21\x23-\x5b\x5d-\x7e]++ )*+openid(?: [\x21\x23-\x5b\x5d-\x7e]++)*+",
    "must be scopes with spaces that include openid, such as openid profile",
)
_LOGS = _matching(
    r"cloudwatch:[A-Za-z0-9_./#-]+(,[A-Za-z0-9_./#-]+)*|file:/.+",
    "must be cloudwatch: with comma-separated log groups, or file:/path",
)


def _trim(value: object) -> object:
    """A secret without the white space around it, which files and editors add."""
    return value.strip(" \t\r\n\ufeff") if isinstance(value, str) else value


def _check_credential(value: SecretStr | None) -> SecretStr | None:
    text = "a" if value is None else value.get_secret_value()
    if not (text and text.isascii() and text.isprintable()):
        raise ValueError("must be visible ASCII characters")
    return value


#: A password, and a credential that headers contain.
_Password = Annotated[SecretStr | None, BeforeValidator(_trim), Agreement.MAY_DIFFER]
_Credential = Annotated[_Password, AfterValidator(_check_credential)]


def _parse_oidc_roles(value: str) -> dict[str, Role]:
    pairs = [part.rpartition("=") for part in value.split(",")]
    roles = {name.strip(): role.strip() for name, _, role in pairs}
    if "" in roles or not set(roles.values()) <= set(Role):
        raise ValueError(
            "must be comma-separated value=role, such as platform=owner,on-call=operator"
        )
    return {name: Role(role) for name, role in roles.items()}


def _parse_legacy_files(value: str) -> tuple[str, ...]:
    locations = tuple(part.strip() for part in value.split(",") if part.strip())
    if any(
        not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/.+\.json|file:/.+\.json", location)
        for location in locations
    ):
        raise ValueError("must be comma-separated s3://bucket/key.json or file:/path.json")
    return tuple(location.removeprefix("file:") for location in locations)


def _parse_networks(value: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    try:
        return tuple(
            ipaddress.ip_network(part.strip()) for part in value.split(",") if part.strip()
        )
    except ValueError:
        # The library's message quotes the value.
        raise ValueError(
            "must be comma-separated networks such as 10.0.0.0/8 or fd00::/8, with host bits zero"
        ) from None


def _parse_limit(value: str) -> RateLimit:
    match = re.fullmatch(r"(\d{1,9})/(\d{1,7})", value)
    if match is None or "0" in match.groups():
        raise ValueError('must be requests/seconds, such as "600/60"')
    quota, window_s = int(match[1]), int(match[2])
    return RateLimit(name="requests", quota=quota, window_s=window_s, burst=quota)


#: Default number of secrets, and of secret requests, that an owner can create per minute.
SHARING_CREATES_PER_MINUTE = 10

_Networks = Annotated[
    tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...], BeforeValidator(_parse_networks)
]


#: Settings, and those that must be set with them.
_REQUIRED = {
    "checkpoint_key": ("checkpoint_archive",),
    "checkpoint_archive": ("checkpoint_key",),
    "secrets_bucket": ("secrets_key",),
    "secrets_key": ("secrets_bucket",),
    "oidc_issuer": ("oidc_audience", "oidc_roles"),
    "oidc_client_id": ("oidc_issuer", "console_url"),
    "oidc_client_secret": ("oidc_client_id",),
}
#: Pairs of settings of which the first must not exceed the second.
_AT_MOST = (
    ("session_idle_timeout_s", "session_max_age_s"),
    ("step_up_max_age_s", "session_max_age_s"),
    ("streams_max", "connections_max"),
)


def variable(setting: str) -> str:
    return PREFIX + setting.upper()


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class SharingSettings(_Settings):
    """Settings of the sharing service. As a Lambda function, the service has only these settings:
    no database and no secrets.
    """

    environment: Annotated[str, Field(min_length=1, max_length=32), _Same]
    """Name of the deployment, such as dev, staging or prod. A label in logs and metrics, and part
    of the encryption context of secrets: after a change, existing secrets cannot be opened."""
    secret_links_table: Annotated[str, _Same] = ""
    """DynamoDB table of secrets and links. The sharing service is ready only if it can read the
    table. Secret sharing also requires GATEHOUSE_SECRETS_BUCKET, GATEHOUSE_SECRETS_KEY and
    GATEHOUSE_SHARING_URL."""
    secrets_bucket: Annotated[str, _Same] = ""
    """S3 bucket, with versioning, for the encrypted content of secrets."""
    secrets_key: Annotated[str, _Same] = ""
    """KMS key that encrypts the data keys of secrets: ID, ARN or alias of a symmetric key."""
    sharing_url: str = ""
    """Public URL of the sharing service. With https://, responses contain
    Strict-Transport-Security."""
    docs_url: Annotated[str, _SITE] = ""
    """URL at which clients can read the site that `make site` builds. The `type` of each error is
    then the URL of its section in the page Errors. If unset, it is a URN."""
    log_level: Level = "info"
    """Minimum level of log lines. info logs every request."""
    metrics_namespace: Annotated[str, _NAMESPACE] = ""
    """CloudWatch namespace for metrics in the log (embedded metric format), such as Gatehouse/prod.
    If unset, no such metrics are written."""


class ConnectionSettings(_Settings):
    """Timeouts and limits for the connections of clients."""

    request_timeout_s: Annotated[float, Field(ge=0.1, le=600)] = 10.0
    """Timeout in seconds for receiving the headers of a request (then 408). A body for a Core can
    arrive at any rate, any other within 60 seconds."""
    tls: Literal["off", "self_signed"] = "off"
    """TLS of the services. self_signed: TLS 1.2 or 1.3, with a certificate that is created at each
    start, for a load balancer that does not validate it."""
    load_balancer_idle_timeout_s: Annotated[int, Field(ge=2, le=4000)] = 120
    """Idle timeout of the load balancer or proxy in front of the services, in seconds. Services
    close idle connections up to 10 seconds later, so that the load balancer never sends a request
    on a closing connection, and idle WebSockets up to 10 seconds earlier, with code 1001."""
    drain_s: Annotated[int, Field(ge=0, le=600)] = 0
    """Time in seconds after SIGTERM during which requests are still accepted, while /readyz returns
    503, and each connection is closed after the next response. If the load balancer does not
    deregister the server before SIGTERM, use more than its idle timeout."""
    stop_timeout_s: Annotated[int, Field(ge=1, le=600)] = 5
    """Time in seconds after the drain time until requests in progress are aborted."""
    connections_max: Annotated[int, Field(ge=16, le=65_536)] = 4096
    """Maximum number of open connections of clients. Further ones are closed."""

    @property
    def idle_timeout_s(self) -> int:
        """Time in seconds after which a connection without a request is closed."""
        return self.load_balancer_idle_timeout_s + self._margin_s

    @property
    def websocket_idle_timeout_s(self) -> int:
        """Time in seconds after which a WebSocket without data is closed."""
        return self.load_balancer_idle_timeout_s - self._margin_s

    @property
    def _margin_s(self) -> int:
        return min(10, self.load_balancer_idle_timeout_s // 2)


class GatewaySettings(_Settings):
    """Settings of the gateway only."""

    key_cache_size: Annotated[int, Field(ge=100, le=5_000_000)] = 200_000
    """Number of keys that a worker caches. The least recently used are evicted."""
    key_requests_max: Annotated[int, Field(ge=1, le=65_536)] = 128
    """Maximum number of concurrent requests to Cores per key family (a key and its rotations) and
    worker. Further ones receive 429."""
    core_requests_max: Annotated[int, Field(ge=1, le=65_536)] = 1024
    """Maximum number of concurrent requests of a gateway to a Core for each of its instances,
    including WebSockets. Further ones receive 503 `core_overloaded`."""
    streams_max: Annotated[int, Field(ge=1, le=65_536)] = 1024
    """Maximum number of open requests per worker that end when their key is revoked, such as
    WebSockets. Further ones receive 503."""
    core_health_interval_s: Annotated[float, Field(ge=0, le=300)] = 10.0
    """Interval in seconds between health checks of an instance of a Core. 0 disables them."""
    circuit_breaker_failures: Annotated[int, Field(ge=0, le=1000)] = 5
    """Number of consecutive failures after which a gateway
    [avoids](guides/cores.md#run-several-instances) an instance of a Core. 0 disables the circuit
    breaker."""
    circuit_breaker_reset_s: Annotated[float, Field(ge=0.5, le=300)] = 5.0
    """Time in seconds for which a circuit breaker is open at first. It grows with each further
    time."""
    retry_budget_percent: Annotated[int, Field(ge=0, le=100)] = 10
    """Maximum percentage of requests to a Core that are retried after a failed connection."""
    request_addresses: bool = True
    """Record the client IP addresses of requests."""


class ConsoleSettings(_Settings):
    """Settings of the console only."""

    request_retention_days: Annotated[int, Field(ge=1, le=90)] = 14
    """Days after which the record of a request is deleted."""

    checkpoint_interval_s: Annotated[int, Field(ge=10, le=86_400)] = 600
    """Age of the last checkpoint of the audit chain, in seconds, from which a new event triggers
    another."""
    session_idle_timeout_s: Annotated[int, Field(ge=60, le=43_200)] = 900
    """Idle timeout of browser sessions at the console, in seconds."""
    session_max_age_s: Annotated[int, Field(ge=300, le=604_800)] = 28_800
    """Maximum age of a session, in seconds."""
    step_up_max_age_s: Annotated[int, Field(ge=30, le=3600)] = 300
    """Maximum age of the last authentication, in seconds, for actions such as a purge."""
    portal_name: Annotated[str, Field(max_length=60)] = ""
    """Name of the company on the pages of the portal, on which customers manage their API keys."""
    portal_logo: Annotated[str, _FILE] = ""
    """Absolute path of the logo on the pages of the portal: an SVG, PNG, JPEG or WebP file of at
    most 256 KiB."""
    portal_colour: Annotated[str, _COLOUR] = ""
    """Colour of the buttons of the portal, such as #0b5c4a. Their text is black or white, whichever
    has the higher contrast."""
    sharing_creates_per_minute: Annotated[int, Field(ge=1, le=10_000)] = SHARING_CREATES_PER_MINUTE
    """Number of secrets, of secret requests, and of new versions that an owner can create per
    minute. A key and its rotations count as one owner."""


class Settings(SharingSettings, ConnectionSettings, GatewaySettings, ConsoleSettings):
    """Settings of `gatehouse serve` and `migrate`. Field names are the variable names in lowercase
    without the prefix.
    """

    key_prefix: Annotated[str, AfterValidator(_check_key_prefix), _Same] = "gtk"
    """Prefix of every token: 1 to 16 lowercase letters, digits and single underscores, such as
    acme_sk, but not a prefix of GitHub, Stripe or Slack."""
    key_environment: Annotated[KeyEnvironment, _Same] = KeyEnvironment.TEST
    """Environment of the keys in this deployment. Keys from the other environment are denied."""

    database_url: str
    """URL of PostgreSQL, with the user: postgresql://user@host:5432/name?sslmode=verify-full.
    Contains a password only with GATEHOUSE_DATABASE_AUTH=url."""
    database_auth: DatabaseAuth = "iam"
    """Authentication to PostgreSQL: iam signs a token with the task role (requires TLS), password
    uses GATEHOUSE_DATABASE_PASSWORD, and url uses the password in the URL. password_or_iam, for
    migrations, uses the password and, if PostgreSQL rejects it, a token."""
    database_password: _Password = None
    """Password of the database owner, managed by RDS. Required with
    GATEHOUSE_DATABASE_AUTH=password and password_or_iam.
    """
    database_pool_size: Annotated[int, Field(ge=1, le=200)] = 10
    """Maximum number of PostgreSQL connections per worker process. The total must be lower than
    max_connections of the server."""

    replaced_environment: Annotated[str, Field(max_length=32)] = ""
    """Earlier GATEHOUSE_ENVIRONMENT of a database that was restored, renamed, or has lost a secret:
    `gatehouse migrate` deletes the recorded settings."""

    redis_url: str = ""
    """URL of Redis or Valkey for rate limits: rediss://user@host:6379/0. If unset, each worker
    counts on its own.
    """
    redis_auth: Literal["iam", "url"] = "iam"
    """Authentication to Redis: iam signs a token with the task role (requires rediss://), and url
    uses the password in the URL."""
    redis_cluster: str = ""
    """ID of the ElastiCache replication group. Required with GATEHOUSE_REDIS_AUTH=iam."""

    gateway_url: str = ""
    """Public URL of the gateway, such as https://gateway.example.com. Cores receive its host in
    X-Forwarded-Host.
    """
    cores_domain: Annotated[str, _CORES_DOMAIN] = ""
    """Domain below which each Core has a host name, with the port that clients use, if it is not
    the default port. With cores.example.com, requests for docs.cores.example.com are sent to the
    Core docs."""
    console_url: str = ""
    """Public URL of the console. With https://, responses contain Strict-Transport-Security."""

    pepper: _Generations = None
    """HMAC secret under which tokens are stored and Core secrets are derived. JSON: {"current": 2,
    "generations": {"1": "<base64, 32 bytes>", "2": "..."}}. Required by the gateway and the
    console."""
    session_key: _Generations = None
    """HMAC secret for console sessions and page cursors, in the same format as GATEHOUSE_PEPPER.
    Required by the console.
    """
    bootstrap_token: _Credential = None
    """First administrator credential for the console."""
    canary_key: _Credential = None
    """Tokens of the canary key: the one in use, and the one after the next rotation, separated by a
    space."""

    core_networks: _Networks = ()
    """Private networks in which Cores can register, in addition to public IP addresses. Key holders
    can make the gateway call services in them."""
    core_credentials_prefix: str = ""
    """Prefix of the names of the secrets in AWS Secrets Manager that contain the credentials of
    Cores with `credential_header`, such as gatehouse/prod/core-credentials/. The name of the Core
    is appended."""
    trusted_proxies: _Networks = ()
    """Subnets of the load balancer. The last address in its X-Forwarded-For is the client."""
    outer_proxies: _Networks = ()
    """Proxies in front of the load balancer, such as a CDN. The client is the address before
    theirs. Hosts in these networks choose their IP address."""

    checkpoint_key: Annotated[str, _Same] = ""
    """Key that signs checkpoints of the audit chain: ID, ARN or alias of an ECC_NIST_P256 KMS key.
    If unset, there are no checkpoints."""
    checkpoint_archive: Annotated[str, _CHECKPOINT_ARCHIVE, _Same] = ""
    """Archive of checkpoints, outside the database: s3://bucket/prefix/ with Object Lock, or
    file:/path. Required with GATEHOUSE_CHECKPOINT_KEY."""
    logs: Annotated[str, _LOGS] = ""
    """Logs that users of the console can search: cloudwatch: with comma-separated log groups, such
    as cloudwatch:/gatehouse/prod/gateway,/gatehouse/prod/console, or file:/path of a local folder
    with *.log files."""
    notification_topic: str = ""
    """ARN of an SNS topic to which all notifications are published."""
    notification_sender: Annotated[str, _SENDER] = ""
    """E-mail address from which Amazon SES sends e-mails to the contacts of keys."""
    webhook_networks: _Networks = ()
    """Private networks in which webhook endpoints are allowed, even without TLS, in addition to
    public https:// URLs."""

    legacy_files: Annotated[tuple[str, ...], BeforeValidator(_parse_legacy_files)] = ()
    """Files of an older deployment, as comma-separated s3://bucket/key.json or file:/path.json,
    from which purged keys are also removed."""

    oidc_issuer: Annotated[str, _ISSUER] = ""
    """OpenID Connect issuer for the console (`iss`), such as https://login.example.com."""
    oidc_audience: str = ""
    """Audience of the JWTs (`aud`). Required with GATEHOUSE_OIDC_ISSUER."""
    oidc_claim: str = "groups"
    """Claim that contains the roles, as a string or list. Dots select nested claims, as in
    realm_access.roles.
    """
    oidc_roles: Annotated[dict[str, Role], BeforeValidator(_parse_oidc_roles)] = {}
    """Comma-separated mapping of claim values to roles (owner, operator, issuer, auditor, service,
    secrets:create, secrets:read, secrets:revoke): platform=owner,on-call=operator. Required with
    GATEHOUSE_OIDC_ISSUER."""
    oidc_client_id: str = ""
    """Client ID of the console at the issuer. Requires GATEHOUSE_OIDC_ISSUER and
    GATEHOUSE_CONSOLE_URL. If unset, users paste a credential or open a sign-in link."""
    oidc_client_secret: _Credential = None
    """Client secret of the console. If unset, it is a public client and uses only PKCE."""
    oidc_scopes: Annotated[str, Field(min_length=1), _OIDC_SCOPES] = "openid profile"
    """Scopes of the sign-in, separated by spaces, with openid. Some issuers require a scope for the
    claim."""

    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Number of worker processes of a gateway, and of threads of Envoy, usually one per CPU."""
    features: Annotated[tuple[tuple[str, bool], ...], BeforeValidator(switched)] = Field(
        default=(),
        description="Features to enable or disable, as comma-separated name=on or name=off, such "
        "as sessions=off. All features are enabled by default: " + ", ".join(FEATURES) + ".",
    )
    traces_endpoint: Annotated[str, _TRACES_ENDPOINT] = ""
    """URL of an OpenTelemetry collector that receives traces as OTLP over HTTP, such as
    http://127.0.0.1:4318/v1/traces. If unset, no traces are sent."""
    traces_sample_percent: Annotated[float, Field(ge=0, le=100)] = 1.0
    """Percentage of requests that are traced. The decision of the caller takes precedence."""
    bind: str = "0.0.0.0"  # noqa: S104 - a container listens on all addresses; its security group restricts access
    """IP address on which the services listen."""
    gateway_port: Port = 8080
    """Port of the gateway service."""
    console_port: Port = 8081
    """Port of the console service."""
    sharing_port: Port = 8082
    """Port of the sharing service."""

    max_staleness_ms: Annotated[int, Field(ge=1500, le=60_000)] = 3000
    """Maximum age of the key state in a gateway, in milliseconds, and time that a revocation waits
    for the gateways. With an older key state, a gateway denies every key."""
    database_outage_max_s: Annotated[int, Field(ge=0, le=14_400)] = 3600
    """Maximum time in seconds for which a gateway uses its key state while it cannot read
    PostgreSQL but can read announced revocations in Redis or Valkey. The leases of Cores do not end
    during this time, also without Redis. The gateways and the console must have the same value. 0
    disables both."""
    limit_timeout_ms: Annotated[int, Field(ge=5, le=5000)] = 250
    """Timeout for Redis calls, in milliseconds."""
    limit_on_error: OnError = "local"
    """Handling of rate limits while Redis is unavailable or slow. local: each worker counts on its
    own (n workers allow up to n times the limit). deny: requests that must be counted are denied.
    """
    default_limit: Annotated[RateLimit, BeforeValidator(_parse_limit)] = RateLimit(
        name="requests", quota=600, window_s=60, burst=600
    )
    """Rate limit for keys without their own rate limits, as requests/seconds, such as 600/60."""
    body_max_bytes: Annotated[int, Field(ge=1024, le=10_485_760)] = 65_536
    """Maximum size of request bodies to the APIs, and of signed requests to Cores, in bytes."""

    @property
    def announced_outage_s(self) -> int:
        """Maximum time in seconds for which gateways verify keys without PostgreSQL."""
        return self.database_outage_max_s if self.redis_url else 0

    @model_validator(mode="after")
    def _check_combinations(self) -> "Settings":
        problems = [
            f"{variable(setting)} requires {' and '.join(map(variable, required))}"
            for setting, required in _REQUIRED.items()
            if getattr(self, setting) and not all(getattr(self, name) for name in required)
        ]
        problems += [
            f"{variable(setting)} must not exceed {variable(maximum)}"
            for setting, maximum in _AT_MOST
            if getattr(self, setting) > getattr(self, maximum)
        ]
        if self.database_auth in ("password", "password_or_iam") and self.database_password is None:
            problems.append(
                f"GATEHOUSE_DATABASE_AUTH={self.database_auth} requires GATEHOUSE_DATABASE_PASSWORD"
            )
        if self.redis_url and self.redis_auth == "iam" and not self.redis_cluster:
            problems.append("GATEHOUSE_REDIS_AUTH=iam requires GATEHOUSE_REDIS_CLUSTER")
        gateway, domain = urlsplit(self.gateway_url).hostname, self.cores_domain.partition(":")[0]
        if gateway and domain and gateway.endswith(f".{domain}"):
            problems.append("GATEHOUSE_GATEWAY_URL must not be below GATEHOUSE_CORES_DOMAIN")
        if problems:
            raise ValueError("; ".join(problems))
        return self


#: The settings with a decision.
AGREEMENTS = {
    name: decision
    for name, setting in Settings.model_fields.items()
    for decision in setting.metadata
    if isinstance(decision, Agreement)
}

_Kind = TypeVar("_Kind", bound=SharingSettings)


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Reads the `GATEHOUSE_*` variables. Empty values count as unset. Raises SettingsError, which
    lists all invalid variables but no values."""
    return _read(Settings, environ)


def load_sharing(environ: Mapping[str, str] | None = None) -> SharingSettings:
    """Reads the settings of the sharing service as a Lambda function. Variables of other services
    are rejected.
    """
    return _read(SharingSettings, environ)


def _read(kind: type[_Kind], environ: Mapping[str, str] | None) -> _Kind:
    source = os.environ if environ is None else environ
    values = {
        name[len(PREFIX) :].lower(): value
        for name, value in source.items()
        if name.startswith(PREFIX) and name not in CLI_VARIABLES and value != ""
    }
    try:
        return kind.model_validate(values)
    except ValidationError as exc:
        problems = tuple(
            Problem(
                location=variable(str(error["loc"][0])) if error["loc"] else "environment",
                message=_message(error),
            )
            for error in exc.errors(include_input=False, include_url=False)
        )
        lines = "; ".join(f"{problem.location}: {problem.message}" for problem in problems)
        raise SettingsError(f"invalid configuration: {lines}", errors=problems) from None


def _message(error: ErrorDetails) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown setting; see docs/settings-runtime.md"
    if error["type"] == "missing":
        return "is required"
    own = error["ctx"]["error"] if error["type"] == "value_error" else None
    return error["msg"] if own is None else str(own)
