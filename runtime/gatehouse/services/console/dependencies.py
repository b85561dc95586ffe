"""Dependencies of the console's endpoints, built by `console/app.py`, and the request that handlers receive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse

from gatehouse.core.actor import Actor, RequestId, Session
from gatehouse.core.addresses import ClientAddresses, Network
from gatehouse.core.clock import Clock
from gatehouse.core.keys import KeyEnvironment, RateLimit
from gatehouse.core.roles import Role
from gatehouse.core.token import Pepper
from gatehouse.core.verification import RateLimits
from gatehouse.features.audit.repository import AuditRepository
from gatehouse.features.audit.service import DeniedAttempts
from gatehouse.features.cores.repository import CoreRepository
from gatehouse.features.identity.authorization_code import AuthorizationCodeFlow
from gatehouse.features.identity.oidc import OidcIdentityProvider
from gatehouse.features.identity.service import Lockout, Sessions
from gatehouse.features.keys.repository import KeyRepository
from gatehouse.features.leaks.service import LeakService
from gatehouse.features.notifications.repository import NotificationRepository
from gatehouse.features.operations.service import LogLevelService
from gatehouse.features.sharing.service import SecretSharing
from gatehouse.features.transfer.repository import ImportRepository
from gatehouse.features.usage.repository import UsageRepository
from gatehouse.features.verification.rate_limiters import LocalRateLimits, RedisRateLimits
from gatehouse.platform.aws.signing_key import Signer
from gatehouse.platform.http import asgi
from gatehouse.platform.http.endpoint import JSON_PART
from gatehouse.platform.http.health import Probes
from gatehouse.platform.http.idempotency import IdempotencyStore
from gatehouse.platform.http.multipart import MultipartReader
from gatehouse.platform.http.validation import invalid
from gatehouse.platform.observability import Observer


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Stores, services and settings of one console process.

    pepper: HMAC secret of tokens.
    cursor_pepper: session key, which signs page cursors.
    bootstrap_token: the first admin credential. None: the bootstrap token is disabled.
    staleness_s: the propagation bound: the maximum time that a change waits for confirmation by the gateways.
    addresses: determines the client address behind trusted proxies.
    random_bytes: `secrets.token_bytes`.
    https: the public URL uses https, so HSTS is sent.
    origin: origin of the console, such as https://console.example.com. Empty: the origin from the Host header.
    gateway_url: public URL of the gateway. Empty if it is not configured.
    features_off: names of disabled features.
    helpers: probes of optional dependencies. If an optional dependency fails, the console is degraded but available.
    counters: rate limit counters of the gateways. None when each gateway worker has its own counters.
    limits: counts requests with a key against the rate limits of the key. Requests to the gateways count against the same limits.
    signer: signs checkpoints. None when checkpoints are disabled.
    webhook_networks: private networks that webhooks may use.
    identity_provider: validates JWTs. None when it is not configured.
    sign_in_flow: sign-in of browsers with the identity provider. None when it is not configured.
    idempotency_store: stored responses by Idempotency-Key. None: the header has no effect.
    leaks: handles leak reports. None: leak reports are not accepted.
    sharing: manages secrets. None when secret sharing is not configured.
    """

    keys: KeyRepository
    imports: ImportRepository
    audit: AuditRepository
    cores: CoreRepository
    usage: UsageRepository
    notifications: NotificationRepository
    clock: Clock
    pepper: Pepper
    cursor_pepper: Pepper
    bootstrap_token: str | None
    key_prefix: str
    key_environment: KeyEnvironment
    default_limit: RateLimit
    staleness_s: float
    body_max_bytes: int
    addresses: ClientAddresses
    probes: Probes
    observer: Observer
    random_bytes: Callable[[int], bytes]
    https: bool
    sessions: Sessions
    log_levels: LogLevelService
    origin: str = ""
    gateway_url: str = ""
    features_off: frozenset[str] = frozenset()
    helpers: Probes = ()
    counters: RedisRateLimits | None = None
    limits: RateLimits = field(default_factory=LocalRateLimits)
    signer: Signer | None = None
    webhook_networks: tuple[Network, ...] = ()
    identity_provider: OidcIdentityProvider | None = None
    sign_in_flow: AuthorizationCodeFlow | None = None
    idempotency_store: IdempotencyStore | None = None
    leaks: LeakService | None = None
    sharing: SecretSharing | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller.

    roles: current roles of the credential.
    log_id: identifier in request logs.
    proven_at: Unix seconds of the last authentication.
    owner: label under which the caller owns secrets. A key and its rotations have the same label.
    session: browser session of the request. None if the request contains the credential.
    """

    actor: Actor
    roles: frozenset[Role]
    log_id: str
    proven_at: float
    owner: str
    session: Session | None = None


@dataclass(slots=True)
class Request:
    """A request, as handlers receive it.

    response: collects the headers and cookies for the response.
    content: the raw body after it has been read. For a form, the part `json`.
    form: a form whose files have not been read yet. None for a JSON body.
    """

    http: HttpRequest
    dependencies: Dependencies
    lockout: Lockout
    denied: DeniedAttempts
    caller: Caller | None = None
    content: bytes = b""
    form: MultipartReader | None = None
    response: HttpResponse = field(default_factory=HttpResponse)

    @property
    def authenticated(self) -> Caller:
        """The caller of an endpoint that requires a credential."""
        assert self.caller is not None  # noqa: S101 - the pipeline authenticates before it calls a handler
        return self.caller

    @property
    def actor(self) -> Actor:
        return self.authenticated.actor

    @property
    def request_id(self) -> RequestId:
        return RequestId(self.http.state.request_id)

    @property
    def source_address(self) -> str:
        """Address of the client, as reported by trusted proxies."""
        peer = self.http.client.host if self.http.client else "unknown"
        return self.dependencies.addresses.client(peer, self.http.headers.getlist("x-forwarded-for"))

    async def read_body(self, *, secret: bool = False, extra_bytes: int = 0) -> bytes:
        """Read the body into `content`. Raises BodyTooLarge.

        secret: the body may contain the content of a secret. extra_bytes: number of bytes by which the maximum size increases.
        """
        sharing = self.dependencies.sharing
        bytes_max = self.dependencies.body_max_bytes + extra_bytes
        if secret and sharing is not None:
            bytes_max += sharing.content_max_bytes
        self.content = await asgi.read_body(self.http.scope, self.http.receive, bytes_max)
        return self.content

    async def read_form(self) -> bytes:
        """Read the part `json` of a form into `content`. Raises BodyTooLarge, BadRequest."""
        sharing = self.dependencies.sharing
        json_max = self.dependencies.body_max_bytes + (sharing.content_max_bytes if sharing is not None else 0)
        bytes_max = json_max + (sharing.file_max_bytes if sharing is not None else 0)
        body = asgi.body_chunks(self.http.scope, self.http.receive, bytes_max)
        self.form = MultipartReader(body, self.http.headers["content-type"])
        part = await self.form.next_part()
        if part is None or part.name != JSON_PART:
            message = f"does not begin with the part {JSON_PART}"
            raise invalid("body", message, f"send the body as {JSON_PART}, before the files")
        self.content = await self.form.read(json_max)
        return self.content
