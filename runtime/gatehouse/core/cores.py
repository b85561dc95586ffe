"""Registered Cores, and the settings that they declare."""

from typing import Annotated, ClassVar, Literal, NewType

import msgspec
from msgspec import Meta

from gatehouse.core.keys import KeyEnvironment, KeyId
from gatehouse.core.texts import matching

CoreName = NewType("CoreName", str)  # lowercase DNS label, 1 to 40 characters


#: The Core that each gateway serves itself, so that a request with the canary key takes the path of
#: a request to any other Core (services/gateway/echo.py). No agent can register it.
ECHO = CoreName("gatehouse-echo")

#: ID of an instance whose registration specifies no ID.
DEFAULT_INSTANCE = "default"


#: ID of an instance that was imported. The first registration of the Core replaces it.
IMPORTED_INSTANCE = "imported"


#: Maximum number of live instances of a Core.
INSTANCES_MAX = 64

#: Maximum number of instances, of all Cores, that a key and its rotations register. An instance
#: counts until an hour after its lease has ended, or ten minutes if its Core has another one.
REGISTERED_MAX = 2000

#: Time for which WebSockets to an instance stay open after the end of its lease, and for which the
#: database and the gateway workers keep an instance that has ended, so that its WebSockets end when
#: its key is revoked. They keep the last instance of a Core, and imported ones, longer.
ENDED_OF_CORE_S = 600.0

#: Duration of a lease in seconds if the registration has none.
LEASE_S_DEFAULT = 60

#: Request headers by which an application can trust a proxy about the client: its user, address or
#: certificate, and the method and URL of its request. `*` stands for any characters. CGI and WSGI
#: servers read an underscore in a name as a hyphen.
IDENTITY_HEADERS = (
    "*_*",
    # The address of the client.
    *("client-ip", "*-client-ip", "*-clientip", "*-socketip", "*-user-ip", "x-real-ip"),
    *("cf-connecting-ip*", "forwarded-for", "x-originating-ip", "akamai-origin-hop"),
    # The user.
    *("remote-*", "x-remote-*", "x-user", "x-user-id", "x-user-name", "x-user-email", "x-username"),
    *("x-user-groups", "x-user-roles", "x-userinfo", "x-email", "x-groups", "x-roles"),
    *("x-auth-request-*", "x-auth-user*", "x-authenticated-*", "x-authentik-*", "x-webauth-*"),
    *("x-consumer-*", "x-credential-*", "impersonate-*", "x-amzn-oidc-*", "cf-access-*"),
    *("x-goog-authenticated-*", "x-goog-iap-*", "x-ms-client-principal*", "x-pomerium-*"),
    "tailscale-user-*",
    # The certificate of the client, and TLS.
    *("client-cert*", "x-client-cert*", "x-amzn-mtls-*", "x-ssl-*", "ssl-*", "x-arr-*"),
    "front-end-https",
    # The method and the URL of the request, and its route in the application.
    *("x-http-method*", "x-method-override", "x-http-host-override", "x-original-*", "x-rewrite-*"),
    *(
        "x-host",
        "x-scheme",
        "x-url-scheme",
        "x-script-name",
        "x-middleware-*",
        "x-invoke-*",
        "x-accel-*",
    ),
    "x-sendfile-type",
    # CGI passes this header on as the proxy for requests of the application (CVE-2016-5385).
    "proxy",
)


#: Pattern of the name of a header, and its form.
_HEADER = (
    "[A-Za-z0-9-]{1,64}",
    "the name of a header, of 1 to 64 letters, digits and hyphens, such as Authorization",
)


class CoreSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Settings that the registration of a Core declares. They apply to all its instances.

    The only declaration of the fields: the API, the options of `gatehouse core`, the form of the
    web UI, the stored row, the change feed and the documentation are derived from it.
    """

    example: ClassVar = {"response_timeout_s": 600, "basic_auth": True}

    health_path: Annotated[
        Annotated[
            str,
            matching(
                "/[!-~]*",
                "a path of ASCII characters without spaces, such as /healthz",
                max_length=200,
                examples=["/healthz"],
            ),
        ]
        | None,
        Meta(
            description="Path of the health checks, below the URL of the Core. A response with a "
            "status from 200 to 299 is a success. Default: no health checks."
        ),
    ] = None
    response_timeout_s: Annotated[
        int,
        Meta(
            ge=1,
            le=3600,
            description="Maximum time in seconds from the end of a request until the Core begins "
            "to respond. Rounded up to 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800 or 3600. A "
            "later pause can last as long, or slightly longer than the idle timeout of the load "
            "balancer.",
        ),
    ] = 60
    idle_timeout_s: Annotated[
        Annotated[int, Meta(ge=1, le=3600)] | None,
        Meta(
            description="Maximum time in seconds without data on a WebSocket. Default and maximum: "
            "slightly less than the idle timeout of the load balancer."
        ),
    ] = None
    body_max_bytes: Annotated[
        Annotated[int, Meta(ge=1, le=2**53)] | None,
        Meta(description="Maximum size of a request body in bytes. Default: no limit."),
    ] = None
    strip_prefix: Annotated[
        bool,
        Meta(
            description="Requests for `/cores/{name}` are forwarded without this prefix. Requests "
            "for the host name of a Core have no prefix."
        ),
    ] = True
    forward_host: Annotated[
        bool,
        Meta(
            description="The Core receives the header Host of the client instead of its own host, "
            "so that it can compare the header with the origin of a page. The Core has to check "
            "the value before it uses it in links."
        ),
    ] = False
    http2: Annotated[
        bool,
        Meta(
            description="The Core speaks HTTP/2: with TLS, or with prior knowledge (h2c) without "
            "TLS. Required for gRPC."
        ),
    ] = False
    end_on_revocation: Annotated[
        Literal["streams", "all", "none"],
        Meta(
            description="Requests in progress that end when the key no longer permits them. "
            "streams: WebSockets and server-sent events (requests with `Accept: "
            "text/event-stream`). all: every request. none: none, which makes WebSocket messages "
            "faster. Other requests end with their response."
        ),
    ] = "streams"
    key_header: Annotated[
        str,
        matching(
            *_HEADER,
            description="Header with the API key, in addition to `Authorization: Bearer`.",
            examples=["Private-Token"],
        ),
    ] = "X-API-Key"
    basic_auth: Annotated[
        bool,
        Meta(
            description="Accept the API key as the password of Basic authentication, with any user "
            "name, or as the user name with an empty password. Unsafe cross-site requests of "
            "browsers are denied."
        ),
    ] = False
    forward_authorization: Annotated[
        bool,
        Meta(
            description="Forward `Authorization` to the Core unless it contains an API key. "
            "Clients send the key in the key header, and the gateway sends the secret of the Core "
            "in `Gatehouse-Core-Secret`. Excludes `basic_auth`."
        ),
    ] = False
    credential_header: Annotated[
        Annotated[str, matching(*_HEADER, examples=["Authorization"])] | None,
        Meta(
            description="Header in which the Core receives the credential that an operator stored "
            "for it, with the same header, in AWS Secrets Manager. The gateway sends the secret of "
            "the Core in `Gatehouse-Core-Secret`. Excludes `forward_authorization` and "
            "`forward_host`. Default: no credential."
        ),
    ] = None
    identity_header: Annotated[
        Annotated[str, matching(*_HEADER, examples=["X-Remote-User"])] | None,
        Meta(
            description="Header in which the Core receives the customer of the key, in addition to "
            "`Gatehouse-Customer-Id`, such as an application that takes its user from a proxy."
        ),
    ] = None
    remove_headers: Annotated[
        tuple[
            Annotated[
                str,
                matching(
                    r"\*?[A-Za-z0-9_-]{1,62}\*?",
                    "the name of a header, of which * can stand for the beginning or the end, "
                    "such as x-remote-*",
                    examples=["x-remote-*"],
                ),
            ],
            ...,
        ],
        Meta(
            max_length=100,
            description="Request headers that are not forwarded. `*` at the beginning or end of a "
            "name stands for any characters. Default: headers by which applications trust a proxy "
            "about the client.",
        ),
    ] = IDENTITY_HEADERS
    cors_origins: Annotated[
        tuple[
            Annotated[
                str,
                matching(
                    r"\*|https?://[A-Za-z0-9.\[\]:-]+",
                    "* or the origin of a web page, such as https://app.example.com",
                    max_length=300,
                    examples=["https://app.example.com"],
                ),
            ],
            ...,
        ],
        Meta(
            max_length=100,
            description="Origins of web pages that can call the Core from a browser, or `*`. Their "
            "preflight requests need no key.",
        ),
    ] = ()
    error_format: Annotated[
        Literal["problem", "openai"],
        Meta(
            description="Format of errors from the gateway: problem documents (RFC 9457), or "
            "errors as in the OpenAI API."
        ),
    ] = "problem"

    def __post_init__(self) -> None:
        if self.basic_auth and self.forward_authorization:
            raise ValueError("cannot have both basic_auth and forward_authorization")
        # With its Host, a client could make a shared server pass the credential to another site.
        if self.credential_header and (self.forward_authorization or self.forward_host):
            raise ValueError(
                "cannot have credential_header with forward_authorization or forward_host"
            )
        own = {"authorization", self.key_header.lower(), (self.credential_header or "").lower()}
        if self.identity_header and self.identity_header.lower() in own:
            raise ValueError("cannot have identity_header for a header with a key or a secret")


#: Settings of a Core that declares none.
DEFAULT_SETTINGS = CoreSettings()


class CoreRecord(msgspec.Struct, frozen=True):
    """A registered instance of a Core: its URL, the lease, and the key that registered it. The
    fields are columns of `core`.
    """

    name: CoreName
    instance_id: str  # unique among the instances of the Core
    url: str  # URL below which requests are sent: http(s)://host[:port][/path]
    environment: KeyEnvironment
    lease_id: str
    registered_by: KeyId
    pepper_generation: int  # pepper generation from which the secret of the Core was derived
    # end of the lease or, while the instance is draining, the time at which its WebSockets are
    # closed
    expires_at: float
    draining: bool  # the instance receives no new requests
    version: int
    lease_s: int = LEASE_S_DEFAULT  # duration of the lease when it is registered or renewed
    settings: CoreSettings = DEFAULT_SETTINGS

    def is_live(self, now: float) -> bool:
        return not self.draining and self.expires_at > now

    def has_ended(self, now: float) -> bool:
        """True if the WebSockets to the instance must end."""
        return self.expires_at <= now - (0 if self.draining else ENDED_OF_CORE_S)
