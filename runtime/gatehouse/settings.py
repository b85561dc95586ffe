"""The runtime's configuration: read once from the environment, typed, frozen, and complaining by variable name.

Names are those of `runtime/contract.toml` (a test holds both sides to it). Only `app` and `cli` import this module."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from gatehouse import settings_validators as forms
from gatehouse.errors import Problem, SettingsError
from gatehouse.keys.models import KeyEnvironment, RateLimit
from gatehouse.operations.features import FEATURES

PREFIX = "GATEHOUSE_"


#: Variables with our prefix that are not settings of a server: the command line's own (see cli/).
CLI_VARIABLES = frozenset({"GATEHOUSE_ADMIN_TOKEN", "GATEHOUSE_CORE_TOKEN"})


Port = Annotated[int, Field(ge=1, le=65535)]


class ShareSettings(BaseModel):
    """All that the share service needs, and so all that a function which serves it is told: no database, no secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    environment: str = Field(
        min_length=1,
        max_length=32,
        description="Name of the deployment, such as dev, staging or prod: a label on logs and metrics; nothing branches on it.",
    )
    secret_links_table: str = Field(
        default="", description="The DynamoDB table of share tokens; the share service is ready only when it can read it."
    )
    sharing_url: str = Field(
        default="",
        description="Public URL of the share page; one that begins with https:// makes its answers ask browsers for HTTPS alone.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least that is logged: info is one line a request, debug is for finding a fault."
    )


class Settings(ShareSettings):
    """Every setting of `gatehouse serve` and `migrate`. Field names are the variables, lower case, without the prefix."""

    key_prefix: str = Field(
        default="gtk",
        description="The brand in front of every key: 1 to 16 lower-case letters, digits and single underscores, such "
        "as gtk or acme_sk. May not begin like the keys of GitHub, Stripe or Slack, whose leak scanners "
        "would claim ours.",
    )
    key_environment: KeyEnvironment = Field(
        default=KeyEnvironment.TEST, description="Which keys are issued and accepted here; a key of the other kind is refused."
    )

    database_url: str = Field(
        description="Where PostgreSQL is, and as whom to sign in: "
        "postgresql://user@host:5432/name?sslmode=verify-full. Holds a password only with "
        "GATEHOUSE_DATABASE_AUTH=url."
    )
    database_auth: Literal["iam", "password", "url"] = Field(
        default="iam",
        description="How to prove it: iam signs a token with the role of the task (TLS is then a must), password "
        "takes GATEHOUSE_DATABASE_PASSWORD, url takes what the URL holds.",
    )
    database_password: SecretStr | None = Field(
        default=None,
        description="The database owner's password, which RDS makes and rotates; only with GATEHOUSE_DATABASE_AUTH=password.",
    )
    database_pool_size: int = Field(
        default=10,
        ge=1,
        le=200,
        description="Connections that one worker process keeps to PostgreSQL at most; "
        "times workers and tasks it must stay below the server's max_connections.",
    )

    database_connect_timeout_s: float = Field(
        default=5.0, ge=0.5, le=60, description="Seconds until a new connection to PostgreSQL is given up."
    )
    database_statement_timeout_s: float = Field(
        default=15.0,
        ge=0.5,
        le=300,
        description="Seconds until a statement is given up; the gateway follows key changes with less.",
    )
    database_pool_timeout_s: float = Field(
        default=5.0, ge=0.1, le=60, description="Seconds that a request of the console waits for a free connection of its pool."
    )
    slow_query_threshold_ms: int = Field(
        default=500,
        ge=0,
        le=60_000,
        description="Statements that take this long are logged, without values, and counted; 0 logs none.",
    )

    redis_url: str = Field(
        default="",
        description="Where Redis or Valkey counts rate limits: rediss://user@host:6379/0. Unset, each worker counts for itself.",
    )
    redis_auth: Literal["iam", "url"] = Field(
        default="iam",
        description="How to prove who signs in: iam signs a token with the role of the task (needs rediss://), url "
        "takes what the URL holds.",
    )
    redis_cluster: str = Field(
        default="",
        description="The ElastiCache replication group, part of the signed token; needed with GATEHOUSE_REDIS_AUTH=iam.",
    )

    gateway_url: str = Field(default="", description="Public URL of the gateway, such as https://gateway.example.com.")
    console_url: str = Field(
        default="",
        description="Public URL of the console; one that begins with https:// makes its answers ask browsers for HTTPS alone.",
    )

    pepper: SecretStr | None = Field(
        default=None,
        description='The key under which API keys are stored (HMAC) and Core secrets are derived. JSON: {"current": '
        '2, "generations": {"1": "<base64, 32 bytes>", "2": "..."}}. The gateway and console services need it.',
    )
    session_key: SecretStr | None = Field(
        default=None,
        description="The key under which the console's sessions are stored (HMAC) and its page cursors are signed; same form as "
        "GATEHOUSE_PEPPER. The console service needs it.",
    )
    bootstrap_token: SecretStr | None = Field(
        default=None, description="The first admin credential of the console, to issue the keys that come after it."
    )

    core_networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = Field(
        default=(),
        description="Private networks in which a Core may register: CIDRs with commas between. Public addresses "
        "always may; none by default, so that no key holder can point the gateway at its neighbours.",
    )
    trusted_proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = Field(
        default=(),
        description="Whose X-Forwarded-For is believed: CIDRs with commas between, the subnets of the load balancer. "
        "None by default: anybody can send the header.",
    )
    core_lease_max_s: int = Field(
        default=300,
        ge=5,
        le=3600,
        description="The longest lease, in seconds, that a Core may ask for: how long one that died unseen can stay on the list.",
    )

    checkpoint_key: str = Field(
        default="",
        description="The key that signs checkpoints of the audit trail: id, ARN or alias of an ECC_NIST_P256 key of AWS KMS, or "
        "file:/path of an Ed25519 key in PEM. Unset, no checkpoints are taken.",
    )
    checkpoint_archive: str = Field(
        default="",
        description="Where checkpoints are kept, out of the database's reach: s3://bucket/prefix/ with object lock, or "
        "file:/path. Needed with GATEHOUSE_CHECKPOINT_KEY.",
    )
    checkpoint_interval_events: int = Field(
        default=1000, ge=1, le=1_000_000, description="A checkpoint is taken after so many new rows of the audit trail ..."
    )
    checkpoint_interval_s: int = Field(
        default=600,
        ge=10,
        le=86_400,
        description="... or when there is a new row and the last checkpoint is so many seconds old.",
    )

    notification_topic: str = Field(
        default="",
        description="ARN of an SNS topic that is told what happens to keys (end, rotation, expiry, leak, unusual use).",
    )
    webhook_networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = Field(
        default=(),
        description="Private networks in which webhooks may be, also without TLS: CIDRs with commas between. Public https "
        "addresses always may.",
    )

    legacy_files: tuple[str, ...] = Field(
        default=(),
        description="The api_keys.json and ngrok_urls.json of an older deployment that are still in use: s3://bucket/key with "
        "commas between. A key that was imported and is purged is removed from them too.",
    )

    oidc_issuer: str = Field(
        default="",
        description="Whose JWTs people may use at the console, as in `iss`: https://login.example.com. Unset: nobody's.",
    )
    oidc_audience: str = Field(default="", description="Our name at the issuer, as in `aud`; needed with GATEHOUSE_OIDC_ISSUER.")
    oidc_jwks_url: str = Field(default="", description="Where the issuer's keys are. Unset: as its discovery document says.")
    oidc_claim: str = Field(
        default="groups",
        description="The claim that roles are read from: text or a list; dots go deeper, as in realm_access.roles.",
    )
    oidc_roles: tuple[tuple[str, str], ...] = Field(
        default=(),
        description="Value of the claim = role, with commas between: platform=owner,on-call=operator. "
        "Needed with GATEHOUSE_OIDC_ISSUER; roles are owner, operator, issuer, auditor, service.",
    )

    session_idle_timeout_s: int = Field(
        default=900, ge=60, le=43_200, description="Seconds without use after which a browser's session at the console ends."
    )
    session_max_age_s: int = Field(
        default=28_800,
        ge=300,
        le=604_800,
        description="Seconds after its sign-in at which a session ends, however much it is used.",
    )
    step_up_max_age_s: int = Field(
        default=300,
        ge=30,
        le=3600,
        description="How old, in seconds, the last proof of a session's credential may be for an act such as a purge.",
    )
    leak_action: Literal["notify", "disable", "revoke"] = Field(
        default="disable",
        description="What is done to a key that is reported as found in public: notify only tells, disable can be undone, revoke "
        "cannot. Each find is told (key.leaked).",
    )
    leak_github_keys: str = Field(
        default="",
        description="Whose reports of GitHub's secret scanning are believed: its public keys, pinned. JSON: "
        '{"<key identifier>": "<PEM>"}, from api.github.com/meta/public_keys/secret_scanning. Unset: none are taken.',
    )
    leak_secret: SecretStr | None = Field(
        default=None,
        description="The secret of other reporters (Standard Webhooks): whsec_ and base64 of 24 to 64 bytes. Unset: no reports.",
    )

    workers: int = Field(default=1, ge=1, le=64, description="Worker processes of a gateway: one for each processor.")
    features: tuple[tuple[str, bool], ...] = Field(
        default=(),
        description="Features that are switched, as name=off or name=on with commas between, such as sessions=off. All are on by "
        "default: " + ", ".join(feature.name for feature in FEATURES) + ".",
    )
    metrics_namespace: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._/#:-]{0,255}$",
        description="Namespace of CloudWatch under which a gateway's log lines carry the use of keys (embedded metric format), such "
        "as Gatehouse/prod. Unset, no such lines are written.",
    )
    bind: str = Field(
        default="0.0.0.0",  # noqa: S104 - a container listens on all of its addresses; the security group decides who reaches it
        description="Address on which the services listen. In a container all of them; the security group decides who reaches it.",
    )
    gateway_port: Port = Field(default=8080, description="Port of the gateway service.")
    console_port: Port = Field(default=8081, description="Port of the console service.")
    sharing_port: Port = Field(default=8082, description="Port of the share service.")

    max_staleness_ms: int = Field(
        default=3000,
        ge=1000,
        le=60_000,
        description="How old, in milliseconds, a gateway's picture of the keys may get before it refuses every key. Also "
        "the longest that a revocation waits for the gateways; longer rides out a longer failover.",
    )
    limit_timeout_ms: int = Field(
        default=50,
        ge=5,
        le=5000,
        description="Milliseconds that a request waits for Redis before GATEHOUSE_LIMIT_ON_ERROR applies.",
    )
    limit_on_error: Literal["local", "refuse"] = Field(
        default="local",
        description="Rate limits while Redis is away: local lets each worker count for itself (n workers let up to n "
        "times as much pass), refuse lets no request pass that must be counted.",
    )
    default_limit: RateLimit = Field(
        default=RateLimit(name="requests", quota=600, window_s=60, burst=600),
        description="Requests/seconds for a key that was made without limits, such as 600/60.",
    )
    body_max_bytes: int = Field(
        default=65_536,
        ge=1024,
        le=10_485_760,
        description="The largest request body, in bytes, that the management API and verify read. Bodies to Cores are "
        "streamed, not read.",
    )
    key_cache_size: int = Field(
        default=200_000,
        ge=100,
        le=5_000_000,
        description="Key records that one worker holds in memory; the least recently used go first.",
    )

    core_cache_max_bytes: int = Field(
        default=16_777_216,
        ge=0,
        le=1_073_741_824,
        description="Bytes of often-read files of Cores that one worker holds, the least recently read go first; a file "
        "takes a quarter of it and 1 MiB at most. Each request still asks the Core, which answers 304. 0: none.",
    )

    core_timeout_s: float = Field(
        default=60.0, ge=1, le=600, description="Seconds of a Core's silence after which a request to it is given up (504)."
    )
    circuit_breaker_failures: int = Field(
        default=5,
        ge=0,
        le=1000,
        description="Requests in a row that found no connection to a Core, or no answer, until a worker leaves it alone "
        "(`core_circuit_open`, 503). 0: never.",
    )
    circuit_breaker_reset_s: float = Field(
        default=5.0, ge=0.5, le=300, description="Seconds for which a Core is left alone; then one request tries it."
    )
    retry_budget_percent: int = Field(
        default=10,
        ge=0,
        le=100,
        description="Of a hundred requests to a Core, how many may be sent again after a failed connection. 0: none.",
    )

    _brand = field_validator("key_prefix")(forms.brand)
    _issuer = field_validator("oidc_issuer", "oidc_jwks_url")(forms.issuer)
    _oidc_roles = field_validator("oidc_roles", mode="before")(forms.oidc_roles)
    _features = field_validator("features", mode="before")(forms.features)
    _vault = field_validator("checkpoint_archive")(forms.vault)
    _old_files = field_validator("legacy_files", mode="before")(forms.legacy_files)
    _networks = field_validator("core_networks", "trusted_proxies", "webhook_networks", mode="before")(forms.networks)
    _limit = field_validator("default_limit", mode="before")(forms.limit)

    @model_validator(mode="after")
    def _together(self) -> Settings:
        if self.database_auth == "password" and self.database_password is None:
            raise ValueError("GATEHOUSE_DATABASE_AUTH=password needs GATEHOUSE_DATABASE_PASSWORD")
        if self.redis_url and self.redis_auth == "iam" and not self.redis_cluster:
            raise ValueError("GATEHOUSE_REDIS_AUTH=iam needs GATEHOUSE_REDIS_CLUSTER")
        if bool(self.checkpoint_key) != bool(self.checkpoint_archive):
            raise ValueError("GATEHOUSE_CHECKPOINT_KEY and GATEHOUSE_CHECKPOINT_ARCHIVE need each other")
        if self.oidc_issuer and not (self.oidc_audience and self.oidc_roles):
            raise ValueError("GATEHOUSE_OIDC_ISSUER needs GATEHOUSE_OIDC_AUDIENCE and GATEHOUSE_OIDC_ROLES")
        if self.session_idle_timeout_s > self.session_max_age_s:
            raise ValueError("GATEHOUSE_SESSION_IDLE_TIMEOUT_S may not be longer than GATEHOUSE_SESSION_MAX_AGE_S")
        return self


_Kind = TypeVar("_Kind", bound=ShareSettings)


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Reads `GATEHOUSE_*`; empty values count as unset. Raises SettingsError that names every wrong variable, never a value."""
    return _read(Settings, environ)


def load_share(environ: Mapping[str, str] | None = None) -> ShareSettings:
    """The same for a function that serves the share service; a variable of another service is refused there."""
    return _read(ShareSettings, environ)


def _read(kind: type[_Kind], environ: Mapping[str, str] | None) -> _Kind:
    source = os.environ if environ is None else environ
    ours = {
        name[len(PREFIX) :].lower(): value
        for name, value in source.items()
        if name.startswith(PREFIX) and name not in CLI_VARIABLES and value != ""
    }
    try:
        return kind.model_validate(ours)
    except ValidationError as exc:
        problems = tuple(
            Problem(
                location=PREFIX + str(error["loc"][0]).upper() if error["loc"] else "environment",
                message=_message(error["type"], error["msg"]),
            )
            for error in exc.errors(include_input=False, include_url=False)
        )
        lines = "; ".join(f"{problem.location}: {problem.message}" for problem in problems)
        raise SettingsError(f"wrong configuration: {lines}", errors=problems) from None


def _message(kind: str, text: str) -> str:
    if kind == "extra_forbidden":
        return "no such setting; see docs/settings-runtime.md for the names"
    if kind == "missing":
        return "is not set"
    return text.removeprefix("Value error, ")
