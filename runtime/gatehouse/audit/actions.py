"""Actions of the audit trail: the only list of them. The documentation is generated from it."""

from __future__ import annotations

from enum import StrEnum


class AuditAction(StrEnum):
    """Value of `AuditEvent.action`, with a sentence for the documentation."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> AuditAction:
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    # The second part of an action on a key is a value of keys.lifecycle.Action.
    KEY_CREATE = "key.create", "An API key was created."
    KEY_UPDATE = "key.update", "Properties or the signing key of an API key were changed."
    KEY_DISABLE = "key.disable", "An API key was disabled."
    KEY_ENABLE = "key.enable", "A disabled API key was enabled."
    KEY_ROTATE = "key.rotate", "An API key was replaced by a successor."
    KEY_END_GRACE = "key.end-grace", "The grace period of a rotated API key was ended."
    KEY_REVOKE = "key.revoke", "An API key was revoked."
    KEY_DELETE = "key.delete", "An API key was deleted and can be restored."
    KEY_RESTORE = "key.restore", "A deleted API key was restored."
    KEY_PURGE = "key.purge", "The data of an API key was erased."
    KEY_SELF_REVOKE = "key.self-revoke", "An API key was revoked by its holder with the token itself."
    KEY_LEAK = "key.leak", "An API key was reported as found in public."
    KEY_UNUSUAL = "key.unusual", "An API key was used in an unusual way."
    KEY_EXPIRES_SOON = "key.expires_soon", "An API key expires soon."
    KEY_IMPORT = "key.import", "A batch of API keys was imported."
    KEY_UPGRADE = "key.upgrade", "The imported hash of an API key was replaced by an HMAC at its first use."
    KEY_LEGACY_FILES_REMOVED = "key.legacy-files-removed", "A purged API key was removed from the legacy files."
    KEY_LEGACY_FILES_FAILED = "key.legacy-files-failed", "A purged API key could not be removed from the legacy files."
    CORE_REGISTER = "core.register", "A Core was registered."
    CORE_MOVE = "core.move", "The URL of a registered Core was changed."
    CORE_DRAIN = "core.drain", "A Core was drained."
    CORE_IMPORT = "core.import", "A batch of Cores was imported."
    SESSION_BEGIN = "session.begin", "A console session was started."
    SESSION_END = "session.end", "A console session was ended."
    SESSION_END_ALL = "session.end-all", "All console sessions of an actor, or of every actor, were ended."
    WEBHOOK_CREATE = "webhook.create", "A webhook was created."
    WEBHOOK_DELETE = "webhook.delete", "A webhook was deleted."
    DELIVERY_RETRY = "delivery.retry", "A dead letter was queued for delivery again."
    PEPPER_REWRAP = "pepper.rewrap", "Token digests were moved to the current pepper generation."
    PEPPER_RESEAL = "pepper.reseal", "Sealed signing secrets were moved to the current pepper generation."
    REGISTRY_EXPORT = "registry.export", "All API keys were exported to a sealed file."
    REGISTRY_RESTORE = "registry.restore", "API keys were restored from a sealed file."
    LOG_LEVEL_SET = "log-level.set", "The log level was changed or reset."
    ACCESS_DENIED = "access.denied", "A request to the console was denied."
