"""The session cookie, and whether a request that brings it was made by our own page.

A browser sends the cookie with every request, also with those that another site makes it send. SameSite=Strict keeps most of
these back; the rest is refused twice over: by where the browser says that the request comes from (Sec-Fetch-Site, Origin), and by
a token that only our page can have read.
Source: OWASP Cross-Site Request Forgery Prevention Cheat Sheet; RFC 6265bis, section 4.1.3.2 (`__Host-`).
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from gatehouse.doors.console.parts import Parts
from gatehouse.errors import CrossSite, Problem

COOKIE = "__Host-gatehouse"
CSRF_HEADER = "X-CSRF-Token"
_SAFE = frozenset({"GET", "HEAD"})


def cookie_of(request: Request) -> str | None:
    """The session cookie of a request without a credential of its own: one that is shown counts alone."""
    return None if "authorization" in request.headers else request.cookies.get(COOKIE)


def set_cookie(response: Response, cookie: str, *, max_age_s: int) -> None:
    """Without `Domain`, for `/` and over TLS alone, as `__Host-` demands; browsers take it from http://localhost too."""
    response.set_cookie(COOKIE, cookie, max_age=max_age_s, path="/", secure=True, httponly=True, samesite="strict")


def clear_cookie(response: Response) -> None:
    """Takes the cookie away, and what the browser kept of our pages. Not `"cookies"`: that would reach the other doors' hosts."""
    response.set_cookie(COOKIE, "", max_age=0, path="/", secure=True, httponly=True, samesite="strict")
    response.headers["Clear-Site-Data"] = '"cache", "storage"'


def check_site(request: Request, parts: Parts) -> None:
    """Raises CrossSite when the browser says that another site made the request, or is silent about one that changes things."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    safe = request.method in _SAFE
    # `none`: the person typed the address. That is how a page is opened, never how ours changes something.
    if site is not None and site != "same-origin" and not (safe and site == "none"):
        _refuse("header.sec-fetch-site", "says that another site made this request", "open the console itself and do it there")
    if origin is not None and not _own(origin, request, parts):
        _refuse("header.origin", "is not the console's own origin", "open the console itself and do it there")
    if not safe and site is None and origin is None:
        _refuse("header.origin", "is missing", "use a browser, or send the credential itself as Authorization: Bearer <token>")


def check_csrf(request: Request, parts: Parts, cookie: str) -> None:
    """Raises CrossSite when a request that may change something lacks the session's token."""
    if request.method in _SAFE:
        return
    sent = request.headers.getlist(CSRF_HEADER)
    if len(sent) != 1 or not parts.sessions.csrf_fits(cookie, sent[0]):
        fix = f"send {CSRF_HEADER} with the csrf_token of GET /v1/sessions/current"
        _refuse(f"header.{CSRF_HEADER.lower()}", "is missing or belongs to another session", fix)


def _own(origin: str, request: Request, parts: Parts) -> bool:
    if parts.origin:
        return origin == parts.origin
    # No public address is configured: the one that the browser called. A browser lets no page choose its Host header.
    return bool(urlsplit(origin).netloc) and urlsplit(origin).netloc == request.headers.get("host", "")


def _refuse(location: str, message: str, fix: str) -> None:
    raise CrossSite("The request may come from another site", errors=(Problem(location, message, fix),))
