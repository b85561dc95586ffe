"""Checks the passphrases of links, and limits the attempts."""

import hmac

from gatehouse.core.errors import Forbidden, TooManyRequests
from gatehouse.features.secrets import encryption
from gatehouse.features.secrets.backend import Backend
from gatehouse.features.secrets.denials import ATTEMPT_WINDOW_S, Denials
from gatehouse.features.secrets.link_token import LinkToken
from gatehouse.features.secrets.models import Client, Link

NETWORK_ATTEMPTS_MAX = 5
LINK_ATTEMPTS_MAX = 20


class PassphraseRequired(Forbidden, temporary=False):
    title = "This link requires a passphrase"


class WrongPassphrase(Forbidden, temporary=False):
    title = "The passphrase is wrong"
    tries_left = 0


class TooManyAttempts(TooManyRequests, temporary=True):
    title = "Too many wrong passphrases"


class Passphrases:
    def __init__(self, backend: Backend, denials: Denials) -> None:
        self._backend = backend
        self._denials = denials

    async def link_keys(
        self, link: Link, token: LinkToken, passphrase: str, client: Client
    ) -> encryption.LinkKeys:
        """Return the keys of the link. Attempts are counted before the passphrase is checked,
        including parallel guesses.

        Raises PassphraseRequired, WrongPassphrase, TooManyAttempts.
        """
        if not link.salt:
            return encryption.link_keys(token.secret, token.path)
        if not passphrase:
            raise PassphraseRequired
        counters = {
            f"passphrase:{token.path}:{client.network}": NETWORK_ATTEMPTS_MAX,
            f"passphrase:{token.path}": LINK_ATTEMPTS_MAX,
        }
        now, taken, left = self._backend.clock.now(), list[str](), LINK_ATTEMPTS_MAX
        try:
            for counter, limit in counters.items():
                wait_s, remaining = await self._backend.table.take_attempt(
                    counter, limit=limit, window_s=ATTEMPT_WINDOW_S, now=now
                )
                if wait_s is not None:
                    message = f"Too many wrong passphrases. Try again in {wait_s} s."
                    raise TooManyAttempts(message, retry_after_s=wait_s)
                taken.append(counter)
                left = min(left, remaining)
            key = await self._backend.passphrase_key(passphrase, link.salt)
            keys = encryption.link_keys(token.secret, token.path, key)
            if not hmac.compare_digest(keys.public_key, link.public_key):
                taken.clear()
                event = self._denials.event(token, client, "wrong passphrase")
                await self._backend.table.record(token.secret_id, event)
                error = WrongPassphrase(f"{WrongPassphrase.title}. Tries left: {left}.")
                error.tries_left = left
                raise error
        finally:  # only wrong passphrases count
            for counter in taken:
                await self._backend.table.return_attempt(
                    counter, window_s=ATTEMPT_WINDOW_S, now=now
                )
        return keys
