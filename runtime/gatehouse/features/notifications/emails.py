"""Texts of e-mails to the contact of a key. Pure. They contain no token."""

from typing import Any

import msgspec

from gatehouse.core.clock import rfc3339
from gatehouse.features.notifications.models import NotificationEvent


class Holder(msgspec.Struct, frozen=True):
    """Fields of a key that an e-mail needs. contact: of the key, or of its customer."""

    name: str
    contact: str
    successor_id: str | None


class Email(msgspec.Struct, frozen=True):
    subject: str
    text: str


def email(event: NotificationEvent, timestamp: str, data: dict[str, Any], holder: Holder) -> Email:
    """The e-mail for an event of a key. timestamp, data: as in the body of the notification."""
    id, details = data["key_id"], data["details"]
    title, lines = f"API key {id}", list[str]()
    if event is NotificationEvent.KEY_ROTATED:
        title += " was rotated"
        new, ends_at = details["successor_id"], rfc3339(details["grace_ends_at"])
        lines += [
            f"It was replaced by the key {new} at {timestamp}. It stops working at {ends_at}.",
            "What to do: use the token of the new key. Whoever rotated the key has it, or a "
            "link to it.",
        ]
    elif event is NotificationEvent.KEY_REVOKED:
        title += " was revoked"
        lines += [
            f"It stopped working at {timestamp}.",
            "What to do: if you still need access, ask for a new key.",
        ]
    else:
        title += " expires soon"
        lines.append(f"It stops working at {rfc3339(details['expires_at'])}.")
        lines.append(
            f"What to do: the key was replaced by the key {holder.successor_id}, but was used "
            "afterwards. Use the token of the new key."
            if holder.successor_id
            else "What to do: ask for a rotation or for a later expiry before then."
        )
    if details.get("reason"):
        lines.append(f"Reason: {details['reason']}")
    lines.append(
        "You receive this message because your address is the contact of the key or of "
        "its customer."
    )
    return Email(f"Gatehouse: {title}", "\n\n".join([f"{title}: {holder.name}", *lines]) + "\n")
