"""Settings of the runtime: read once from environment variables, typed and immutable.

The names are those of `runtime/contract.toml`. Only the composition roots and the command line read settings.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from gatehouse.errors import Problem, SettingsError
from gatehouse.http.connection_limits import ConnectionLimits
from gatehouse.keys.models import KeyEnvironment, RateLimit
from gatehouse.operations.features import FEATURES, switched

PREFIX = "GATEHOUSE_"

#: Variables of the command line (cli/), which are not settings of a service.
CLI_VARIABLES = frozenset({"GATEHOUSE_ADMIN_TOKEN", "GATEHOUSE_CORE_TOKEN"})

_CONNECTIONS = ConnectionLimits()

Port = Annotated[int, Field(ge=1, le=65535)]


_KEY_PREFIX = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")

#: Prefixes of tokens of GitHub, Stripe and Slack, which their secret scanners look for.
_RESERVED_PREFIXES = ("ghp", "gho", "ghu", "ghs", "ghr", "sk", "pk", "rk", "xox")


def _check_key_prefix(value: str) -> str:
    if not _KEY_PREFIX.fullmatch(value) or len(value) > 16:
        raise ValueError("must be 1 to 16 lower-case letters, digits and single underscores, such as gtk or acme_sk")
    if value.split("_")[0] in _RESERVED_PREFIXES or value.startswith("xox"):
        raise ValueError("is reserved: the leak scanners of another issuer would report the tokens; choose another prefix")
    return value


def _check_issuer(value: str) -> str:
    if value and not re.fullmatch(r"https://[^/\s]+\S*|http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?(/\S*)?", value):
        raise ValueError("must be an https:// URL (http:// for localhost only)")
    return value


def _parse_oidc_roles(value: object) -> object:
    if not isinstance(value, str):
        return value
    pairs = tuple((name.strip(), role.strip()) for name, _, role in (part.rpartition("=") for part in value.split(",")))
    if any(not name or role not in {"owner", "operator", "issuer", "auditor", "service"} for name, role in pairs):
        raise ValueError("must be comma-separated value=role, such as platform=owner,on-call=operator")
    return pairs


def _parse_features(value: object) -> object:
    return switched(value) if isinstance(value, str) else value


def _check_checkpoint_archive(value: str) -> str:
    if value and not re.fullmatch(r"s3://[a-z0-9.-]{3,63}(/[A-Za-z0-9/._-]*)?|file:/.+", value):
        raise ValueError("must be s3://bucket/prefix/ or file:/path")
    return value


def _parse_legacy_files(value: object) -> object:
    if not isinstance(value, str):
        return value
    locations = tuple(part.strip() for part in value.split(",") if part.strip())
    if any(
        not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/.+\.json|file:/.+\.json", location) for location in locations
    ):
        raise ValueError("must be comma-separated s3://bucket/key.json or file:/path.json")
    return tuple(location.removeprefix("file:") for location in locations)


def _parse_networks(value: object) -> object:
    if isinstance(value, str):
        try:
            return tuple(ipaddress.ip_network(part.strip()) for part in value.split(",") if part.strip())
        except ValueError:
            # The message of the library quotes the value.
            raise ValueError("must be comma-separated networks such as 10.0.0.0/8 or fd00::/8, with host bits zero") from None
    return value


def _parse_limit(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d{1,9})/(\d{1,7})", value)
    if match is None or "0" in match.groups():
        raise ValueError('must be requests/seconds, such as "600/60"')
    quota, window_s = int(match[1]), int(match[2])
    return RateLimit(name="requests", quota=quota, window_s=window_s, burst=quota)


class SharingSettings(BaseModel):
    """Settings of the sharing service. As a Lambda function it gets these only: no database and no secrets."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    environment: str = Field(
        min_length=1,
        max_length=32,
        description="Name of the deployment, such as dev, staging or prod. Used only as a label in logs and metrics.",
    )
    secret_links_table: str = Field(
        default="", description="DynamoDB table of secret links. The sharing service is ready only if it can read the table."
    )
    sharing_url: str = Field(
        default="", description="Public URL of the sharing service. With https://, responses contain Strict-Transport-Security."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Minimum level of log lines: info logs every request, debug is for troubleshooting."
    )


class Settings(SharingSettings):
    """Settings of `gatehouse serve` and `migrate`. Field names are the variables in lower case without the prefix."""

    key_prefix: str = Field(
        default="gtk",
        description="Prefix of every token: 1 to 16 lower-case letters, digits and single underscores, such as gtk or acme_sk. "
        "Prefixes of GitHub, Stripe and Slack are rejected, because their leak scanners would report the tokens.",
    )
    key_environment: KeyEnvironment = Field(
        default=KeyEnvironment.TEST,
        description="Environment of this deployment's keys. Keys of the other environment are denied.",
    )

    database_url: str = Field(
        description="URL of PostgreSQL, with the user: postgresql://user@host:5432/name?sslmode=verify-full. "
        "Contains a password only with GATEHOUSE_DATABASE_AUTH=url."
    )
    database_auth: Literal["iam", "password", "url"] = Field(
        default="iam",
        description="Authentication to PostgreSQL: iam signs a token with the task role (requires TLS), password "
        "uses GATEHOUSE_DATABASE_PASSWORD, url uses the password in the URL.",
    )
    database_password: SecretStr | None = Field(
        default=None,
        description="Password of the database owner, managed by RDS. Required with GATEHOUSE_DATABASE_AUTH=password.",
    )
    database_pool_size: int = Field(
        default=10,
        ge=1,
        le=200,
        description="Maximum number of PostgreSQL connections per worker process. "
        "Multiplied by workers and tasks, it must be lower than max_connections of the server.",
    )

    database_connect_timeout_s: float = Field(
        default=5.0, ge=0.5, le=60, description="Timeout for new PostgreSQL connections, in seconds."
    )
    database_statement_timeout_s: float = Field(
        default=15.0,
        ge=0.5,
        le=300,
        description="Timeout of SQL statements, in seconds. The change feed of the gateway has a shorter one.",
    )
    database_pool_timeout_s: float = Field(
        default=5.0, ge=0.1, le=60, description="Longest time that a console request waits for a connection, in seconds."
    )
    slow_query_threshold_ms: int = Field(
        default=500,
        ge=0,
        le=60_000,
        description="Duration in milliseconds from which SQL statements are logged, without values. 0 disables the log.",
    )

    redis_url: str = Field(
        default="",
        description="URL of Redis or Valkey for rate limits: rediss://user@host:6379/0. If unset, each worker counts on its own.",
    )
    redis_auth: Literal["iam", "url"] = Field(
        default="iam",
        description="Authentication to Redis: iam signs a token with the task role (requires rediss://), url uses the password "
        "in the URL.",
    )
    redis_cluster: str = Field(
        default="", description="ID of the ElastiCache replication group. Required with GATEHOUSE_REDIS_AUTH=iam."
    )

    gateway_url: str = Field(default="", description="Public URL of the gateway, such as https://gateway.example.com.")
    console_url: str = Field(
        default="", description="Public URL of the console. With https://, responses contain Strict-Transport-Security."
    )

    pepper: SecretStr | None = Field(
        default=None,
        description="HMAC secret under which tokens are stored and Core secrets are derived. JSON: "
        '{"current": 2, "generations": {"1": "<base64, 32 bytes>", "2": "..."}}. Required by gateway and console.',
    )
    session_key: SecretStr | None = Field(
        default=None,
        description="HMAC secret of console sessions and page cursors, in the form of GATEHOUSE_PEPPER. Required by the console.",
    )
    bootstrap_token: SecretStr | None = Field(
        default=None, description="First administrator credential of the console, for creating the first keys."
    )

    core_networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = Field(
        default=(),
        description="Private networks in which Cores may register, as comma-separated CIDRs. Public addresses are always "
        "allowed. Empty by default, so that no key holder can make the gateway call internal services.",
    )
    trusted_proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = Field(
        default=(),
        description="Proxies whose X-Forwarded-For is trusted, as comma-separated CIDRs: the subnets of the load balancer. "
        "Empty by default, because any client can send the header.",
    )
    core_lease_max_s: int = Field(
        default=300,
        ge=5,
        le=3600,
        description="Longest lease of a Core, in seconds. A Core that fails stays registered for at most this long.",
    )

    checkpoint_key: str = Field(
        default="",
        description="Key that signs checkpoints of the audit chain: ID, ARN or alias of an ECC_NIST_P256 KMS key, or "
        "file:/path of an Ed25519 key in PEM. If unset, no checkpoints are created.",
    )
    checkpoint_archive: str = Field(
        default="",
        description="Archive of checkpoints, outside of the database: s3://bucket/prefix/ with Object Lock, or file:/path. "
        "Required with GATEHOUSE_CHECKPOINT_KEY.",
    )
    checkpoint_interval_events: int = Field(
        default=1000, ge=1, le=1_000_000, description="Number of new audit events after which a checkpoint is created."
    )
    checkpoint_interval_s: int = Field(
        default=600,
        ge=10,
        le=86_400,
        description="Age of the last checkpoint, in seconds, after which a new event triggers another one.",
    )

    notification_topic: str = Field(
        default="", description="ARN of an SNS topic for key notifications (end, rotation, expiry, leak, unusual use)."
    )
    webhook_networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = Field(
        default=(),
        description="Private networks in which webhook endpoints are allowed, also without TLS, as comma-separated CIDRs. "
        "Public https:// URLs are always allowed.",
    )

    legacy_files: tuple[str, ...] = Field(
        default=(),
        description="Files api_keys.json and ngrok_urls.json of an older deployment that are still in use, as comma-separated "
        "s3://bucket/key. When an imported key is purged, it is removed from them too.",
    )

    oidc_issuer: str = Field(
        default="",
        description="OpenID Connect issuer of the console (`iss`), such as https://login.example.com. If unset, disabled.",
    )
    oidc_audience: str = Field(default="", description="Audience of the JWTs (`aud`). Required with GATEHOUSE_OIDC_ISSUER.")
    oidc_jwks_url: str = Field(
        default="", description="JWKS URL of the issuer. If unset, it is read from the discovery document."
    )
    oidc_claim: str = Field(
        default="groups",
        description="Claim that contains the roles, as a string or list. Dots address nested claims, as in realm_access.roles.",
    )
    oidc_roles: tuple[tuple[str, str], ...] = Field(
        default=(),
        description="Comma-separated mapping of claim values to roles (owner, operator, issuer, auditor, service): "
        "platform=owner,on-call=operator. Required with GATEHOUSE_OIDC_ISSUER.",
    )

    session_idle_timeout_s: int = Field(
        default=900, ge=60, le=43_200, description="Idle timeout of browser sessions at the console, in seconds."
    )
    session_max_age_s: int = Field(default=28_800, ge=300, le=604_800, description="Maximum age of a session, in seconds.")
    step_up_max_age_s: int = Field(
        default=300,
        ge=30,
        le=3600,
        description="Maximum age of the last authentication, in seconds, for actions such as a purge.",
    )
    leak_action: Literal["notify", "disable", "revoke"] = Field(
        default="disable",
        description="Action on a key that is reported as leaked: notify, disable (can be reverted) or revoke (final). "
        "Each report also sends the notification key.leaked.",
    )
    leak_github_keys: str = Field(
        default="",
        description="Pinned public keys of GitHub secret scanning, as JSON: "
        '{"<key identifier>": "<PEM>"}, from api.github.com/meta/public_keys/secret_scanning. If unset, disabled.',
    )
    leak_secret: SecretStr | None = Field(
        default=None,
        description="Secret of other leak reporters (Standard Webhooks): whsec_ and base64 of 24 to 64 bytes. Optional.",
    )

    workers: int = Field(default=1, ge=1, le=64, description="Number of worker processes of a gateway, usually one per CPU.")
    features: tuple[tuple[str, bool], ...] = Field(
        default=(),
        description="Features to enable or disable, as comma-separated name=on or name=off, such as sessions=off. "
        "All are enabled by default: " + ", ".join(feature.name for feature in FEATURES) + ".",
    )
    metrics_namespace: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._/#:-]{0,255}$",
        description="CloudWatch namespace of the usage metrics in the gateway's log (embedded metric format), such as "
        "Gatehouse/prod. If unset, they are not written.",
    )
    bind: str = Field(
        default="0.0.0.0",  # noqa: S104 - a container listens on all addresses; its security group restricts access
        description="Address on which the services listen. Access to a container is restricted by its security group.",
    )
    gateway_port: Port = Field(default=8080, description="Port of the gateway service.")
    console_port: Port = Field(default=8081, description="Port of the console service.")
    sharing_port: Port = Field(default=8082, description="Port of the sharing service.")

    request_timeout_s: float = Field(
        default=_CONNECTIONS.request_s,
        ge=0.1,
        le=600,
        description="Timeout in seconds for receiving the headers of a request, and separately for its body (408). The timeout "
        f"of the body increases by one second for every {_CONNECTIONS.bytes_per_s_min} bytes.",
    )
    response_timeout_s: float = Field(
        default=_CONNECTIONS.response_s,
        ge=0.1,
        le=600,
        description="Time in seconds after which a connection is closed if the client does not read the response.",
    )
    idle_timeout_s: int = Field(
        default=_CONNECTIONS.idle_s,
        ge=1,
        le=4000,
        description="Idle timeout of connections between requests, in seconds. Must be longer than the idle timeout of the load "
        "balancer.",
    )
    connections_max: int = Field(
        default=_CONNECTIONS.connections_max, ge=16, le=65_536, description="Maximum number of open connections per worker (503)."
    )
    address_connections_max: int = Field(
        default=_CONNECTIONS.address_connections_max,
        ge=1,
        le=65_536,
        description="Maximum number of open connections per client address and worker (429). Trusted proxies are exempt.",
    )
    address_bodies_max: int = Field(
        default=_CONNECTIONS.address_bodies_max,
        ge=1,
        le=65_536,
        description="Maximum number of request bodies that a client address sends to a worker concurrently (429).",
    )

    max_staleness_ms: int = Field(
        default=3000,
        ge=1000,
        le=60_000,
        description="Maximum age of the key state in a gateway, in milliseconds, after which it denies every key. Also the "
        "longest time that a revocation waits for the gateways. A higher value tolerates longer database failovers.",
    )
    limit_timeout_ms: int = Field(
        default=250, ge=5, le=5000, description="Timeout of Redis, in milliseconds, after which GATEHOUSE_LIMIT_ON_ERROR applies."
    )
    limit_on_error: Literal["local", "refuse"] = Field(
        default="local",
        description="Rate limits while Redis is unavailable or slow. local: each worker counts on its own, starting from the "
        "last state that it received (n workers allow up to n times the limit). refuse: requests that must be counted are "
        "denied.",
    )
    default_limit: RateLimit = Field(
        default=RateLimit(name="requests", quota=600, window_s=60, burst=600),
        description="Rate limit of keys that have none, as requests/seconds, such as 600/60.",
    )
    body_max_bytes: int = Field(
        default=65_536,
        ge=1024,
        le=10_485_760,
        description="Maximum size of request bodies of the management API and the verify endpoints, in bytes. "
        "Bodies to Cores are streamed without a limit.",
    )
    key_cache_size: int = Field(
        default=200_000,
        ge=100,
        le=5_000_000,
        description="Number of key records that a worker caches. The least recently used are evicted.",
    )

    key_requests_max: int = Field(
        default=128,
        ge=1,
        le=65_536,
        description="Maximum number of requests to Cores that a key has in progress in a worker (429). Bounds the memory that "
        "slow clients use.",
    )
    core_cache_max_bytes: int = Field(
        default=16_777_216,
        ge=0,
        le=1_073_741_824,
        description="Size of the response cache of a worker, in bytes. A response takes at most a quarter of it and 1 MiB. "
        "Every request is revalidated with the Core (304). 0 disables the cache.",
    )

    core_timeout_s: float = Field(
        default=60.0, ge=1, le=600, description="Timeout of Cores, in seconds without data, after which the response is 504."
    )
    circuit_breaker_failures: int = Field(
        default=5,
        ge=0,
        le=1000,
        description="Consecutive connection errors or timeouts of a Core that open its circuit breaker in a worker "
        "(`core_circuit_open`, 503). 0 disables it.",
    )
    circuit_breaker_reset_s: float = Field(
        default=5.0, ge=0.5, le=300, description="Time in seconds until an open circuit breaker allows a trial request."
    )
    retry_budget_percent: int = Field(
        default=10,
        ge=0,
        le=100,
        description="Share of requests to a Core that may be retried after a failed connection, in percent. 0 disables retries.",
    )

    _key_prefix = field_validator("key_prefix")(_check_key_prefix)
    _issuer = field_validator("oidc_issuer", "oidc_jwks_url")(_check_issuer)
    _oidc_roles = field_validator("oidc_roles", mode="before")(_parse_oidc_roles)
    _features = field_validator("features", mode="before")(_parse_features)
    _checkpoint_archive = field_validator("checkpoint_archive")(_check_checkpoint_archive)
    _legacy_files = field_validator("legacy_files", mode="before")(_parse_legacy_files)
    _networks = field_validator("core_networks", "trusted_proxies", "webhook_networks", mode="before")(_parse_networks)
    _limit = field_validator("default_limit", mode="before")(_parse_limit)

    @property
    def connection_limits(self) -> ConnectionLimits:
        return ConnectionLimits(
            request_s=self.request_timeout_s,
            response_s=self.response_timeout_s,
            idle_s=self.idle_timeout_s,
            connections_max=self.connections_max,
            address_connections_max=self.address_connections_max,
            address_bodies_max=self.address_bodies_max,
        )

    @model_validator(mode="after")
    def _check_combinations(self) -> Settings:
        if self.database_auth == "password" and self.database_password is None:
            raise ValueError("GATEHOUSE_DATABASE_AUTH=password requires GATEHOUSE_DATABASE_PASSWORD")
        if self.redis_url and self.redis_auth == "iam" and not self.redis_cluster:
            raise ValueError("GATEHOUSE_REDIS_AUTH=iam requires GATEHOUSE_REDIS_CLUSTER")
        if bool(self.checkpoint_key) != bool(self.checkpoint_archive):
            raise ValueError("GATEHOUSE_CHECKPOINT_KEY and GATEHOUSE_CHECKPOINT_ARCHIVE must be set together")
        if self.oidc_issuer and not (self.oidc_audience and self.oidc_roles):
            raise ValueError("GATEHOUSE_OIDC_ISSUER requires GATEHOUSE_OIDC_AUDIENCE and GATEHOUSE_OIDC_ROLES")
        if self.session_idle_timeout_s > self.session_max_age_s:
            raise ValueError("GATEHOUSE_SESSION_IDLE_TIMEOUT_S must not exceed GATEHOUSE_SESSION_MAX_AGE_S")
        return self


_Kind = TypeVar("_Kind", bound=SharingSettings)


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Reads `GATEHOUSE_*`; empty values count as unset. Raises SettingsError with all invalid variables, without values."""
    return _read(Settings, environ)


def load_sharing(environ: Mapping[str, str] | None = None) -> SharingSettings:
    """Settings of the sharing service as a Lambda function. Variables of other services are rejected."""
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
                location=PREFIX + str(error["loc"][0]).upper() if error["loc"] else "environment",
                message=_message(error["type"], error["msg"]),
            )
            for error in exc.errors(include_input=False, include_url=False)
        )
        lines = "; ".join(f"{problem.location}: {problem.message}" for problem in problems)
        raise SettingsError(f"invalid configuration: {lines}", errors=problems) from None


def _message(kind: str, text: str) -> str:
    if kind == "extra_forbidden":
        return "unknown setting; see docs/settings-runtime.md"
    if kind == "missing":
        return "is required"
    return text.removeprefix("Value error, ")
