"""Protects forms against cross-site requests with Sec-Fetch-Site and a nonce that is in a cookie
and in the form, and against programs that submit every form with a number to type. Recognizes the
browser that has submitted the form of a page, also after a lost response or a reload.
"""

import hashlib
import hmac
import secrets

from gatehouse.core.errors import CrossSite
from gatehouse.platform.web.request import Request

_NONCE_BYTES = 24
#: The service decides how long a submitted form can be submitted again. The browser may have had
#: the page for hours before.
_BROWSER_S = 86_400


class FormProtection:
    """Creates and checks nonces. `https`: the public URL uses https, so the cookie is `Secure` and
    bound to the host.
    """

    def __init__(self, *, https: bool) -> None:
        self._https = https
        self._cookie = "__Host-csrf" if https else "csrf"
        self._page_cookie = "__Secure-form" if https else "form"

    def nonce(self, request: Request) -> str:
        """Return the nonce for the form on a page, which the response also sets as a cookie: the
        nonce from the client's cookie, or a new one.
        """
        nonce = self._stored(request, self._cookie) or new_nonce()
        request.set_cookie(self._cookie, nonce, secure=self._https)
        return nonce

    def check(self, request: Request, nonce: str) -> None:
        """Raise CrossSite if the browser reports that the request came from another site, and
        unless the form contains the nonce from the cookie.
        """
        stored = self._stored(request, self._cookie)
        is_own = request.header(b"sec-fetch-site") in ("", "same-origin")
        if not (is_own and stored and hmac.compare_digest(stored.encode(), nonce.encode())):
            raise CrossSite

    def page_nonce(self, request: Request) -> str:
        """The nonce of this browser for the page, from `remember`. Empty: it has none."""
        return self._stored(request, self._page_cookie)

    def remember(self, request: Request, page: str, nonce: str) -> None:
        """Store the nonce in the browser for the page with this path."""
        request.set_cookie(
            self._page_cookie, nonce, max_age_s=_BROWSER_S, secure=self._https, path=page
        )

    @staticmethod
    def _stored(request: Request, cookie: str) -> str:
        value = request.cookie(cookie)
        return value if len(value) == 4 * _NONCE_BYTES // 3 else ""


def new_nonce() -> str:
    return secrets.token_urlsafe(_NONCE_BYTES)


def number_to_type(nonce: str) -> str:
    """Return the two digits that a person types into a form, by the nonce of the form."""
    return str(10 + hashlib.sha256(nonce.encode()).digest()[0] * 90 // 256)
