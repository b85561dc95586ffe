"""Actions and events of the audit trail."""

import json
import math
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any, Literal, Self

import msgspec

Details = dict[str, str | int | float | bool | list[str] | None]


Outcome = Literal["success", "denied"]


def detail(value: Any) -> Any:
    """The form of a value in the details of an event."""
    if isinstance(value, tuple):
        return [str(item) for item in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def change_details(before: Any, changes: Mapping[str, Any], recorded: Collection[str]) -> Details:
    """Details of an update: the names of the changed fields, the version before it, and the values
    of the recorded fields after and before it.
    """
    details: Details = {"changed": sorted(changes), "version": before.version}
    for name in sorted({*recorded}.intersection(changes)):
        details[name] = detail(changes[name])
        details[f"{name}_before"] = detail(getattr(before, name))
    return details


class DescribedStr(StrEnum):
    """String enumeration in which each member has a sentence for the documentation."""

    description: str

    def __new__(cls, value: str, description: str = "", *_: str) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.description = description
        return member


class AuditAction(DescribedStr):
    """Actions of the audit trail.

    target_type: type of the resource that the action changes. Default: the first part of the
        action.
    """

    def __init__(self, value: str, description: str = "", target_type: str = "") -> None:
        self.target_type = target_type or value.partition(".")[0]

    KEY_CREATE = "key.create", "An API key was created."
    KEY_UPDATE = "key.update", "The properties of an API key were changed."
    KEY_DISABLE = "key.disable", "An API key was disabled."
    KEY_ENABLE = "key.enable", "A disabled API key was enabled."
    KEY_ROTATE = "key.rotate", "An API key was replaced by a successor."
    KEY_REVOKE = "key.revoke", "An API key was revoked."
    KEY_DELETE = "key.delete", "An API key was deleted. It can be restored."
    KEY_RESTORE = "key.restore", "A deleted API key was restored."
    KEY_PURGE = "key.purge", "The data of an API key was erased."
    KEY_SELF_REVOKE = "key.self-revoke", "An API key was revoked by its holder, who sent the token."
    KEY_EXPIRES_SOON = "key.expires_soon", "A reminder was recorded: an API key expires soon."
    KEY_IMPORT = "key.import", "A batch of API keys was imported.", "import"
    KEY_LEGACY_FILES_REMOVED = (
        "key.legacy-files-removed",
        "A purged API key was removed from the legacy files.",
    )
    CUSTOMER_CREATE = "customer.create", "A customer was created."
    CUSTOMER_UPDATE = "customer.update", "The properties of a customer were changed."
    CUSTOMER_DISABLE = "customer.disable", "A customer was disabled, with all of its keys."
    CUSTOMER_ENABLE = "customer.enable", "A disabled customer was enabled."
    CUSTOMER_DELETE = "customer.delete", "A customer was deleted. It can be restored."
    CUSTOMER_RESTORE = "customer.restore", "A deleted customer was restored."
    CUSTOMER_PURGE = "customer.purge", "The data of a customer and of its keys was erased."
    CUSTOMER_PORTAL_LINK = "customer.portal-link", "A one-time link to the portal was created."
    CUSTOMER_PORTAL_BEGIN = "customer.portal-begin", "A customer opened a link to the portal."
    CUSTOMER_CREDITS_USED_UP = (
        "customer.credits_used_up",
        "No shared credits of a customer were left, recorded once between two refills.",
    )
    PLAN_CREATE = "plan.create", "A plan was created."
    PLAN_UPDATE = "plan.update", "A plan was changed."
    PLAN_DELETE = "plan.delete", "A plan was deleted."
    LIMIT_CREATE = "limit.create", "A rate limit for subjects without a key was created."
    LIMIT_UPDATE = "limit.update", "A rate limit for subjects without a key was changed."
    LIMIT_DELETE = "limit.delete", "A rate limit for subjects without a key was deleted."
    CORE_REGISTER = "core.register", "A Core was registered."
    CORE_MOVE = "core.move", "The URL of a registered Core was changed."
    CORE_DRAIN = "core.drain", "A Core was drained."
    CORE_IMPORT = "core.import", "A batch of Cores was imported.", "import"
    SESSION_BEGIN = "session.begin", "A console session was started."
    SESSION_LINK = "session.link", "A one-time sign-in link was created."
    SESSION_END = "session.end", "A console session was ended."
    SESSION_END_ALL = (
        "session.end-all",
        "All console sessions of an actor, or of all actors, were ended.",
    )
    WEBHOOK_CREATE = "webhook.create", "A webhook was created."
    WEBHOOK_DELETE = "webhook.delete", "A webhook was deleted."
    WEBHOOK_UPDATE = "webhook.update", "A webhook was changed."
    WEBHOOK_ROTATE = "webhook.rotate-secret", "The secret of a webhook was replaced."
    WEBHOOK_TEST = "webhook.test", "A test event was sent to a webhook."
    DELIVERY_RETRY = "delivery.retry", "A delivery was queued again.", "webhook"
    PEPPER_REWRAP = "pepper.rewrap", "Token hashes were migrated to the current pepper generation."
    REGISTRY_EXPORT = "registry.export", "All API keys were exported to an encrypted file."
    REGISTRY_RESTORE = "registry.restore", "API keys were restored from an encrypted file."
    LOG_LEVEL_SET = "log-level.set", "The log level was changed."
    FEATURE_SWITCH = "feature.switch", "A feature was switched on or off."
    SECRET_CREATE = "secret.create", "A secret was created."
    SECRET_UPDATE = "secret.update", "The expiry, uses, label or note of a secret was changed."
    SECRET_REPLACE = "secret.replace", "The content of a secret was replaced with a new version."
    SECRET_RESTORE = "secret.restore", "An earlier version of a secret became the current version."
    SECRET_REVOKE = "secret.revoke", "A secret was revoked."
    SECRET_END = (
        "secret.end",
        (
            "The links of a secret stopped working because the secret expired or all uses were "
            "consumed."
        ),
    )
    SECRET_PURGE = "secret.purge", "All stored versions of the content of a secret were deleted."
    LINK_CLAIM = (
        "link.claim",
        "A use of a link was consumed, before the content was decrypted.",
        "secret",
    )
    LINK_ACKNOWLEDGE = (
        "link.acknowledge",
        "A client confirmed that it received the content of a secret.",
        "secret",
    )
    LINK_DENIED = "link.denied", "An attempt to open a link was denied.", "secret"
    LINK_REVOKE = "link.revoke", "A link was revoked.", "secret"
    REQUEST_CREATE = "request.create", "A secret request was created.", "secret"
    REQUEST_SUBMIT = "request.submit", "A secret was submitted to a secret request.", "secret"
    REQUEST_DENIED = (
        "request.denied",
        "An attempt to submit a secret to a secret request was denied.",
        "secret",
    )
    ACCESS_DENIED = "access.denied", "A request to the console was denied.", "service"


class AuditEvent(msgspec.Struct, frozen=True):
    """One recorded action. The fields are the columns of the trail; the hash of a row covers them
    in this order.

    Adding or reordering fields changes the hash and requires a new `audit_chain.DOMAIN`.
    """

    occurred_at: float  # Unix seconds
    actor_type: str  # bootstrap, key, person, system, customer, recipient or submitter
    actor_id: str
    action: str  # an AuditAction, or other text in an export from another version
    target_type: str  # key, core, session ...
    target_id: str
    outcome: str  # success or denied
    request_id: str
    source_address: str
    details: Details  # contains no token, key or secret

    @property
    def details_json(self) -> str:
        """The details as canonical JSON, which is both hashed and stored. Raises ValueError for NaN
        and infinity.
        """
        plain = {
            name: _number(value) if isinstance(value, float) else value
            for name, value in self.details.items()
        }
        return json.dumps(
            plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
        )


def _number(value: float) -> int | float:
    return int(value) if math.isfinite(value) and value == int(value) else value
