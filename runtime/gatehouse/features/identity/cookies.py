"""The cookie of a browser session."""

from __future__ import annotations

from gatehouse.platform.http.forwarding import CONSOLE_COOKIE
from gatehouse.platform.http.request import Request

COOKIE = CONSOLE_COOKIE


def session_cookie(request: Request) -> str | None:
    """Return the session cookie. Returns None if the request contains a credential, which takes
    precedence over the cookie.
    """
    return None if request.values(b"authorization") else request.cookie(COOKIE) or None


def set_cookie(request: Request, cookie: str, *, max_age_s: int) -> None:
    """Set the session cookie. The prefix `__Host-` requires `Path=/`, `Secure` and no `Domain`.

    Browsers also accept such cookies from http://localhost.
    """
    request.set_cookie(COOKIE, cookie, max_age_s=max_age_s)


def clear_cookie(request: Request) -> None:
    """Remove the cookie and stored pages. Clear-Site-Data `"cookies"` would also clear cookies on
    the hosts of other services.
    """
    set_cookie(request, "", max_age_s=0)
    request.add_header(b"clear-site-data", '"cache", "storage"')
