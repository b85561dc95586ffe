"""The endpoints of the management API, joined from the features, and what its OpenAPI document says about all of them."""

from __future__ import annotations

from gatehouse.audit.routes import ENDPOINTS as AUDIT
from gatehouse.console.authentication import COOKIE
from gatehouse.console.idempotency import HEADER
from gatehouse.cores.routes import ENDPOINTS as CORES
from gatehouse.http.endpoint import CREDENTIAL, SESSION, SIGNATURE
from gatehouse.http.openapi import Api
from gatehouse.identity.routes import ENDPOINTS as SESSIONS
from gatehouse.keys.routes import ENDPOINTS as KEYS
from gatehouse.leaks.routes import ENDPOINTS as LEAKS
from gatehouse.notifications.routes import ENDPOINTS as NOTIFICATIONS
from gatehouse.operations.routes import ENDPOINTS as OPERATIONS
from gatehouse.usage.routes import ENDPOINTS as USAGE

ENDPOINTS = (*KEYS, *AUDIT, *USAGE, *NOTIFICATIONS, *LEAKS, *CORES, *OPERATIONS, *SESSIONS)

#: A malformed id names no resource, so it is 404 rather than 400: ids have no pattern.
_ID = {"type": "string", "minLength": 1, "maxLength": 100}

API = Api(
    title="Gatehouse management API",
    description="Create and manage API keys, read usage and the audit trail, and operate a deployment. Every change "
    "is recorded in"
    " the audit trail. Errors are problem documents (RFC 9457).",
    security_schemes={
        CREDENTIAL: {
            "type": "http",
            "scheme": "bearer",
            "description": "The bootstrap token, an API key with the scope `admin` or a role such as `role:operator`, "
            "or a JWT of the"
            " configured identity provider.",
        },
        SESSION: {
            "type": "apiKey",
            "in": "cookie",
            "name": COOKIE,
            "description": "The session cookie set by POST /v1/sessions. Requests that may change something must also send"
            " `X-CSRF-Token`. Where `x-step-up` applies, the credential must have been shown recently; otherwise the "
            "response is 401"
            " with the code `step_up_required`.",
        },
        SIGNATURE: {
            "type": "apiKey",
            "in": "header",
            "name": "webhook-signature",
            "description": "A Standard Webhooks signature, with `webhook-id` and `webhook-timestamp`. GitHub sends "
            "its own two headers.",
        },
    },
    path_parameters={
        "id": ("Id of the key.", _ID, "3fGh82kLmQ0a"),
        "webhook": ("Id of the webhook.", _ID, "8kLm20pQxT4v"),
        "notification": ("Id of the notification.", _ID, "msg_0199f3a8c0d1b6e5f4a39281"),
        "destination": ("Id of the webhook, or `topic` for the SNS topic.", _ID, "8kLm20pQxT4v"),
        "session": ("Id of the session, or `current`.", _ID, "5tRw0aB9xK2m"),
    },
    common_errors={CREDENTIAL: (400, 401, 403, 429, 503), SIGNATURE: (400, 401, 404, 429, 503)},
    idempotency_key=HEADER,
    empty_body=True,
)
