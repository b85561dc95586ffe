"""The console's ASGI application with endpoints, web UI and health checks."""

from typing import Any
from urllib.parse import urlsplit

from gatehouse.core.http.forwarding import CONSOLE_COOKIE
from gatehouse.features.audit.routes import ENDPOINTS as AUDIT
from gatehouse.features.cores.routes import ENDPOINTS as CORES
from gatehouse.features.customers.routes import ENDPOINTS as CUSTOMERS
from gatehouse.features.identity.authorization_code import AuthorizationCodeFlow
from gatehouse.features.identity.routes import ENDPOINTS as SESSIONS
from gatehouse.features.keys.routes import ENDPOINTS as KEYS
from gatehouse.features.notifications.routes import ENDPOINTS as NOTIFICATIONS
from gatehouse.features.operations.routes import ENDPOINTS as OPERATIONS
from gatehouse.features.secret_requests.routes import ENDPOINTS as REQUESTS
from gatehouse.features.secrets.routes import ENDPOINTS as SECRETS
from gatehouse.features.usage.routes import ENDPOINTS as USAGE
from gatehouse.features.verification.routes import ENDPOINTS as VERIFICATION
from gatehouse.platform.web import health, openapi
from gatehouse.platform.web.application import Application, Routes, Start
from gatehouse.platform.web.endpoint import CREDENTIAL, SESSION, SIGN_IN_CODE, Endpoint
from gatehouse.platform.web.openapi import Api
from gatehouse.services.console.idempotency import HEADER, REPLAY_HEADER
from gatehouse.services.console.lookup import ENDPOINTS as LOOKUP
from gatehouse.services.console.pipeline import RESOLVED, ConsolePipeline
from gatehouse.services.console.portal.routes import ENDPOINTS as PORTAL
from gatehouse.services.console.references import PATH, PATH_CHARS_MAX
from gatehouse.services.console.sign_in import add_sign_in
from gatehouse.services.console.web import operations

ENDPOINTS = (
    *KEYS,
    *CUSTOMERS,
    *PORTAL,
    *VERIFICATION,
    *AUDIT,
    *USAGE,
    *NOTIFICATIONS,
    *CORES,
    *SECRETS,
    *REQUESTS,
    *OPERATIONS,
    *LOOKUP,
    *SESSIONS,
)

#: IDs have no pattern, so the response to a malformed ID is 404, as for an unknown ID.
_ID = {"type": "string", "minLength": 1, "maxLength": PATH_CHARS_MAX}


def _reference(name: str) -> dict[str, Any]:
    return {**_ID, "x-reference": PATH[name]}


API = Api(
    title="Gatehouse management API",
    description="Create and manage API keys, share secrets, read usage and the audit trail, "
    "and operate a deployment. Every"
    " change is recorded in the audit trail. Errors are problem documents (RFC 9457). "
    "Parameters with `x-reference` accept the ID, the name or the tag of an object; the response "
    f"has its ID in `{RESOLVED}`.",
    security_schemes={
        CREDENTIAL: {
            "type": "http",
            "scheme": "bearer",
            "description": "The bootstrap token, an API key with a scope that grants a console "
            "role, such as `admin`,"
            " `role:operator` or `secrets:create`, or a JWT from the configured identity provider.",
        },
        SESSION: {
            "type": "apiKey",
            "in": "cookie",
            "name": CONSOLE_COOKIE,
            "description": "The session cookie set by POST /v1/sessions. Requests that can change "
            "data must also send `X-CSRF-Token`. Operations with `x-step-up` can require a recent "
            "sign-in. If the last sign-in is too old, the response is 401 with the code "
            "`step_up_required`.",
        },
        SIGN_IN_CODE: {
            "type": "http",
            "scheme": "bearer",
            "description": (
                "The code of a sign-in link (`POST /v1/sign-in-links`), which can be used once."
            ),
        },
    },
    tags={
        "keys": "API keys, from their creation to their purge.",
        "customers": "Customers with their plans and the portal; limits for other users.",
        "audit": "The audit trail and its checkpoints.",
        "usage": "Counts of decisions, recorded requests and latency.",
        "notifications": "Webhooks and their deliveries.",
        "cores": "Registered Cores and their instances.",
        "secrets": "Secrets with their links and receipts, and requests for secrets.",
        "operations": "Features, logs and lookups of the deployment.",
        "sessions": "Sign-in of users and their browser sessions.",
    },
    path_parameters={
        "id": ("ID, name or tag of the key.", _reference("id"), "3fGh82kLmQ0a"),
        "customer": ("ID, name or tag of the customer.", _reference("customer"), "acme"),
        "limit_name": ("Name of the limit.", _ID, "sign-in"),
        "plan": ("Name of the plan.", _reference("plan"), "starter"),
        "secret": ("ID of the secret.", _ID, "5tRw0aB9xK2m7HqYc1dZ8e"),
        "link": ("ID of the link.", _ID, "1dZ8eU"),
        "webhook": ("ID of the webhook.", _ID, "8kLm20pQxT4v"),
        "notification": ("ID of the notification.", _ID, "msg_0199f3a8c0d1b6e5f4a39281"),
        "destination": ("ID of the webhook, or `topic` for the SNS topic.", _ID, "8kLm20pQxT4v"),
        "session": ("ID of the session, or `current`.", _ID, "5tRw0aB9xK2m"),
        "name": ("Name of the Core.", _reference("name"), "docs"),
        "feature": ("Name of the feature.", _ID, "proxy"),
        "instance": ("ID of the instance.", _ID, "docs-1"),
    },
    common_errors={CREDENTIAL: (400, 401, 403, 429, 503)},
    idempotency=(HEADER, REPLAY_HEADER),
    resolved=RESOLVED,
    empty_body=True,
)


def create(
    pipeline: ConsolePipeline, *, sign_in_flow: AuthorizationCodeFlow | None, start: Start
) -> Application:
    """Create the console application.

    sign_in_flow: sign-in of browsers with the identity provider. None when it is not configured.
    start: see `Application`.
    """
    features_off = pipeline.features.configured_off
    routes, endpoints = Routes(pipeline), enabled(features_off)
    pipeline.web_files.add(routes)
    pipeline.portal.add(routes)
    provider = None if sign_in_flow is None else urlsplit(sign_in_flow.provider.issuer.url).netloc
    routes.add("/operations.json", operations(endpoints, pipeline.missing, provider))
    routes.add("/openapi.json", openapi.handler(document, features_off))
    add_sign_in(routes, sign_in_flow, pipeline)
    pipeline.add(routes, [*endpoints, *health.ENDPOINTS, health.METRICS])
    return Application(pipeline.observer, start, routes)


def enabled(features_off: frozenset[str]) -> list[Endpoint]:
    return [endpoint for endpoint in ENDPOINTS if endpoint.feature not in features_off]


def document(features_off: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return the OpenAPI document, which omits the endpoints of disabled features."""
    return openapi.document(API, enabled(features_off))
