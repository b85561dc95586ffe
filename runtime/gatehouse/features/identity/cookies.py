"""The cookie of a browser session."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gatehouse.platform.http.forwarding import CONSOLE_COOKIE

COOKIE = CONSOLE_COOKIE


def session_cookie(http: Request) -> str | None:
    """Return the session cookie. Returns None if the request contains a credential, which takes
    precedence over the cookie.
    """
    return None if "authorization" in http.headers else http.cookies.get(COOKIE)


def set_cookie(response: Response, cookie: str, *, max_age_s: int) -> None:
    """Set the session cookie. The prefix `__Host-` requires `Path=/`, `Secure` and no `Domain`.

    Browsers also accept such cookies from http://localhost.
    """
    response.set_cookie(
        COOKIE, cookie, max_age=max_age_s, path="/", secure=True, httponly=True, samesite="strict"
    )


def clear_cookie(response: Response) -> None:
    """Remove the cookie and stored pages. Clear-Site-Data `"cookies"` would also clear cookies on
    the hosts of other services.
    """
    set_cookie(response, "", max_age_s=0)
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
