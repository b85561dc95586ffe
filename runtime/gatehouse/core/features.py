"""Features that a deployment can disable with GATEHOUSE_FEATURES, and an operator at run time."""

from collections.abc import Iterable

from gatehouse.core.errors import Unavailable

#: Browsers sign in and use a session cookie. If this feature is disabled, every request must
#: contain a credential.
SESSIONS = "sessions"
#: Webhooks can be created, listed and deleted. If this feature is disabled, existing webhooks still
#: receive notifications.
WEBHOOKS = "webhooks"
#: Requests are forwarded to Cores, and Cores can register. If this feature is disabled, the gateway
#: only verifies keys.
PROXY = "proxy"
#: Clients can open WebSocket connections to Cores.
WEBSOCKET = "websocket"
#: A GET request verifies the token in its headers, for use by reverse proxies.
HEADER = "header-verify"
#: The holder of a token can revoke the key.
SELF = "self-revocation"

#: Names of all features. They are enabled by default.
FEATURES = (SESSIONS, WEBHOOKS, PROXY, WEBSOCKET, HEADER, SELF)


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
