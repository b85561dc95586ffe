"""Options of keys, customers and plans whose values have another form than their fields."""

import re
from collections.abc import Callable
from typing import Annotated, Any

import typer

from gatehouse.commands.cli.common.options import instant
from gatehouse.commands.cli.common.output import reject
from gatehouse.commands.cli.common.shapes import Form
from gatehouse.core import notation

_CREDITS_FORM = "[+|-][N][:AMOUNT/PERIOD]"
_REFILL = r"([0-9]{1,13})/(hour|day|week|month)"
_CREDITS = re.compile(rf"(?=.)([+-]?[0-9]{{1,13}})?(?::(none|{_REFILL}))?", re.ASCII)


def _rate_limits(option: str, default: str = "") -> Form:
    """default: meaning of the value `default`, which is null. Without it, the value is an error."""
    help = (
        "QUOTA units per WINDOW (a duration, default: 1m), of which at most BURST can be used at "
        "once (default: QUOTA), of which a request uses COST (default: 1), such as 100/1m or "
        "daily=10000/1d:500*2. NAME identifies the limit (default: requests). Repeatable."
    )

    def parse(texts: list[str]) -> list[object] | None:
        if default and texts == ["default"]:
            return None
        limits = [notation.rate_limit(text) for text in texts]
        if None in limits:
            reject(
                f"{option} must be {notation.RATE_LIMIT_FORM}, such as 100/1m (100 units per "
                "minute) or daily=10000/1d:500 (10000 units per day, at most 500 at once)"
            )
        return [*limits]

    subject = "Shared rate limit" if option == "--shared-limit" else "Rate limit"
    end = f" `default`: {default}." if default else ""
    text = f"{subject}: {help}{end}"
    declared = typer.Option(option, metavar=notation.RATE_LIMIT_FORM, help=text)
    return Form(Annotated[list[str] | None, declared], parse)


def _text(metavar: str, help: str, parse: Callable[[str], Any]) -> Form:
    return Form(Annotated[str | None, typer.Option(metavar=metavar, help=help)], parse)


def _credits(text: str) -> dict[str, Any] | None:
    match = _CREDITS.fullmatch(text)
    if text == "none":
        return None
    if match is None:
        reject(
            "--credits must be N, +N, -N, :AMOUNT/PERIOD or N:AMOUNT/PERIOD, such as +5000 (add"
            " 5000 credits) or 5000:5000/month (refill to 5000 credits every month)"
        )
    number, refill, amount, every = match.groups()
    change: dict[str, Any] = {}
    if number:
        change["add" if number[0] in "+-" else "remaining"] = int(number)
    if refill:
        change["refill"] = {"amount": int(amount), "every": every} if amount else None
    return change


def _refill(text: str) -> dict[str, Any] | None:
    match = re.fullmatch(_REFILL, text, re.ASCII)
    if text == "none":
        return None
    if match is None:
        reject("--credits must be AMOUNT/PERIOD, such as 5000/month, or none")
    return {"amount": int(match[1]), "every": match[2]}


def _metadata(pairs: list[str]) -> dict[str, str]:
    if not all("=" in pair for pair in pairs):
        reject("--metadata must be NAME=VALUE, such as ticket=OPS-1234")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


_CREDITS_HELP = (
    "Number of credits, optionally with a refill per hour, day, week or month, such as 5000 or "
    "5000:5000/month. If there are credits: +500 adds, -500 deducts, :5000/month changes only the "
    "refill, and :none removes it. `none`: "
)
_METADATA = Form(
    Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Key-value pair for your own use. Not for secrets. Repeatable.",
        ),
    ],
    _metadata,
)
KEY_FORMS = {
    "limits": _rate_limits("--limit", "those of the plan, or the default of the deployment"),
    "credits": _text(_CREDITS_FORM, f"{_CREDITS_HELP}removes the credit limit.", _credits),
    "expires_at": _text(
        "TIME",
        "Expiry date, such as 2031-01-01, or `never`.",
        lambda text: None if text == "never" else instant("--expires-at", text),
    ),
    "metadata": _METADATA,
    "delivery": Form(
        Annotated[
            bool | None,
            typer.Option(
                "--link",
                help="Print a link that shows the token once, within three days, instead of the "
                "token.",
            ),
        ],
        lambda link: "link" if link else "token",
    ),
}
CUSTOMER_FORMS = {
    "limits": _rate_limits("--limit", "those of the plan"),
    "credits": _text(_CREDITS_FORM, f"{_CREDITS_HELP}those of the plan.", _credits),
    "metadata": _METADATA,
}
PLAN_FORMS = {
    "limits": _rate_limits("--limit", "the default of the deployment"),
    "shared_limits": _rate_limits("--shared-limit"),
    "credits": _text(
        "AMOUNT/PERIOD",
        "Credits that all keys of a customer share, with their refill per hour, day, week or "
        "month, such as 5000/month, or `none`.",
        _refill,
    ),
}
