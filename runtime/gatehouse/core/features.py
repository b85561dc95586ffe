"""Features that a deployment can disable with GATEHOUSE_FEATURES, and an operator at run time."""

from collections.abc import Iterable

from gatehouse.core.errors import Unavailable

SESSIONS, WEBHOOKS, PROXY = "sessions", "webhooks", "proxy"
WEBSOCKET, HEADER, SELF = "websocket", "header-verify", "self-revocation"

#: All features, which are enabled by default, with what they do.
FEATURES = {
    SESSIONS: "Browsers can sign in to the console. When it is off, every request to the console "
    "must contain a credential.",
    WEBHOOKS: "Webhooks can be managed, and deliveries be listed and sent again. When it is off, "
    "the existing webhooks still receive notifications.",
    PROXY: "The gateway forwards requests to Cores, and Cores can register. When it is off, the "
    "gateway only verifies and revokes keys and counts against limits.",
    WEBSOCKET: "Clients can open WebSocket connections to Cores.",
    HEADER: "Other reverse proxies can ask for a decision on the API key in the headers of a "
    "request.",
    SELF: "The holder of a token can revoke its key.",
}


def switched(text: str) -> tuple[tuple[str, bool], ...]:
    """Parse `sessions=off,proxy=on` into pairs. Raises ValueError."""
    switches: dict[str, bool] = {}
    for part in (part.strip() for part in text.split(",") if part.strip()):
        name, _, state = (piece.strip() for piece in part.partition("="))
        if name not in FEATURES:
            raise ValueError(
                f"names an unknown feature; the features are {', '.join(sorted(FEATURES))}"
            )
        if state not in {"on", "off"} or name in switches:
            raise ValueError(
                "must be name=on or name=off, separated by commas, each name once, such as "
                "sessions=off,proxy=on"
            )
        switches[name] = state == "on"
    return tuple(switches.items())


def off(switches: Iterable[tuple[str, bool]]) -> frozenset[str]:
    """Names of the disabled features."""
    return frozenset(name for name, enabled in switches if not enabled)


class Features:
    """The features of a process. off: names of those that are disabled now."""

    def __init__(self, switches: Iterable[tuple[str, bool]] = ()) -> None:
        """switches: of the settings, which an operator cannot enable."""
        self.configured_off = self.off = off(switches)

    def switch_off(self, names: Iterable[str]) -> None:
        """Disables the features that an operator has switched off, and enables all others."""
        self.off = self.configured_off.union(names)

    def check(self, name: str) -> None:
        """Raises Unavailable if a feature is disabled."""
        if name in self.off:
            raise Unavailable(f"The feature {name} is switched off.")
