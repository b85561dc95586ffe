"""Times and sizes in the texts that users read are those of the code: in the web UI, the pages of
the portal and of the sharing service, the help of the command line, and the OpenAPI documents.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gatehouse.commands import cli
from gatehouse.commands.cli import keys as keys_commands
from gatehouse.commands.cli import operations as operations_commands
from gatehouse.core import lifecycle
from gatehouse.features.cores.schemas import DRAIN_S_DEFAULT
from gatehouse.features.customers.schemas import CreatePortalLink
from gatehouse.features.identity.authorization_code import TRANSACTION_S
from gatehouse.features.identity.service import SIGN_IN_LINK_S
from gatehouse.features.keys.fields import WINDOW_S_MAX
from gatehouse.features.notifications.schemas import OVERLAP_S_DEFAULT
from gatehouse.features.operations.schemas import LOGS_S_DEFAULT, LOGS_S_MAX, SEARCH_CHARS_MAX
from gatehouse.features.operations.service import POLL_S
from gatehouse.features.secrets.denials import ATTEMPT_WINDOW_S
from gatehouse.features.secrets.models import (
    CLAIM_S,
    FILES_BYTES_MAX,
    PASSPHRASE_CHARS_MIN,
    RECEIPT_S,
    TEXT_BYTES_MAX,
    TTL_S_DEFAULT,
)
from gatehouse.features.usage.retention import RETENTION_S
from gatehouse.features.usage.schemas import KEYS_RANGE_S_DEFAULT, KEYS_RANGE_S_MAX
from gatehouse.features.verification.schemas import HEADERS_CHARS_MAX
from gatehouse.platform.settings import Settings
from gatehouse.services.console import routes as console
from gatehouse.services.console.idempotency import REPLAY_S
from gatehouse.services.console.portal.service import SHOWN_S, USAGE_DAYS
from gatehouse.services.console.portal.session import SESSION_S
from gatehouse.services.gateway import routes as gateway
from gatehouse.services.sharing import routes as sharing

from tests.runtime.commands.cli.conftest import leaf_commands

RUNTIME = Path(cli.__file__).parents[2]
DAY_S = 86_400
_SETTINGS = Settings.model_fields
_WORDS = {
    word: number
    for number, words in (
        (1, "one"),
        (2, "two zwei"),
        (3, "three drei"),
        (5, "five fünf"),
        (10, "ten zehn"),
    )
    for word in words.split()
}
_UNITS = {
    unit: number
    for number, units in (
        (1, "second seconds sekunde sekunden character characters zeichen byte bytes"),
        (60, "minute minutes minuten"),
        (3600, "hour hours stunde stunden"),
        (DAY_S, "day days tag tage"),
        (7 * DAY_S, "week weeks woche wochen"),
        (366 * DAY_S, "year years jahr jahre"),
        (1024, "KiB"),
        (1_000_000, "MB"),
    )
    for unit in units.split()
}
_NUMBER = re.compile(rf"\b(\d+|{'|'.join(_WORDS)})[ \n]+({'|'.join(_UNITS)})\b", re.IGNORECASE)

#: Words around a number, and the number in the code, in seconds, bytes or characters. The value is
#: None if the words say what they mean, such as the range of a chart.
STATED: dict[str, float | None] = {
    # keys
    "restored for #": lifecycle.RESTORE_WINDOW_S,
    "RFC 3339 timestamp, at most # in the future": lifecycle.TTL_S_MAX // 365 * 366,
    "token once, within #": TTL_S_DEFAULT,
    "window, at most #": WINDOW_S_MAX,
    "window in seconds, at most #": WINDOW_S_MAX,
    "by default #": _SETTINGS["max_staleness_ms"].default / 1000,
    "GATEHOUSE_DATABASE_OUTAGE_MAX_S later, by default #": _SETTINGS[
        "database_outage_max_s"
    ].default,
    "a rotation within the last #": keys_commands.ROTATED_WITHIN.total_seconds(),
    # requests that are repeated
    "first result, within #": REPLAY_S,
    "same value within # are processed only once": REPLAY_S,
    # sessions and portal
    "took longer than #. Sign in": TRANSACTION_S,
    "once and within #. Your previous sign-in link": SIGN_IN_LINK_S,
    "The link is valid for #": SIGN_IN_LINK_S,
    "opened once, within #": CreatePortalLink().ttl_s,
    "manage your API keys for #": SESSION_S,
    "starts a session of #": SESSION_S,
    "shown for #": SHOWN_S,
    "wird # lang": SHOWN_S,
    "Requests of the last #": USAGE_DAYS * DAY_S,
    "Anfragen der letzten #": USAGE_DAYS * DAY_S,
    # secrets
    "Lifetime. Default: #": TTL_S_DEFAULT,
    "Lifetime in seconds. Default: #": TTL_S_DEFAULT,
    "files, # in total": FILES_BYTES_MAX,
    "files with # in total": FILES_BYTES_MAX,
    "Files of at most # in total": FILES_BYTES_MAX,
    "Text content. At most #": TEXT_BYTES_MAX,
    "At most #. Leave this field empty": TEXT_BYTES_MAX,
    "Höchstens #. Lassen Sie das Feld leer": TEXT_BYTES_MAX,
    "text is longer than #": TEXT_BYTES_MAX,
    "Text ist länger als #": TEXT_BYTES_MAX,
    "At least #. Send the passphrase": PASSPHRASE_CHARS_MIN,
    "or # after it, its client can repeat": CLAIM_S,
    "shown again for #": CLAIM_S,
    "For #, this browser can reload": CLAIM_S,
    "Bis # nach dem ersten Mal": CLAIM_S,
    "Seite # lang neu laden": CLAIM_S,
    "Try again in #": ATTEMPT_WINDOW_S,
    "Versuchen Sie es in # erneut": ATTEMPT_WINDOW_S,
    "Available until # after the deletion": RECEIPT_S,
    # usage, log lines, operations
    "Retention: # for minute": RETENTION_S[60],
    "# for hour buckets": RETENTION_S[3600],
    "# for day buckets": RETENTION_S[DAY_S],
    "start of an hour. At most #": KEYS_RANGE_S_MAX,
    "days before `until`. Default: # before": KEYS_RANGE_S_DEFAULT,
    "days before `--until`. Default: # before": KEYS_RANGE_S_DEFAULT,
    "timestamp, at most # before `until`": LOGS_S_MAX,
    "2026-11-30, at most # before `--until`": LOGS_S_MAX,
    "Default: # before `until`, or": LOGS_S_DEFAULT,
    "Default: # before `--until`, or": LOGS_S_DEFAULT,
    "code, at most # without quotation marks": SEARCH_CHARS_MAX,
    "took longer than # are omitted": operations_commands.FOLLOWED_S,
    "consoles within #": POLL_S,
    "workers within #": POLL_S,
    "worker within #": POLL_S,
    "effect within #": POLL_S,
    "WebSockets after #": DRAIN_S_DEFAULT,
    "instance after #. The agent": DRAIN_S_DEFAULT,
    "signatures of both secrets for #": OVERLAP_S_DEFAULT,
    "in total at most #": HEADERS_CHARS_MAX,
    # the words say what they mean
    **dict.fromkeys(
        (
            # ranges of lists and charts
            *("Last #", "Busiest keys (#)", "Denied requests (#)", "in the last #"),
            *("expires in the next #", "# earlier"),
            # formats of IDs and keys
            *("the # after the environment in a token", "the # after `/s/`", "ID (#)"),
            *("base64 of its #", "if it has one or #"),
        )
    ),
}

#: Texts of the options of a choice.
OPTIONS = ("#", "in #")


def numbers() -> Iterator[tuple[str, str, float]]:
    """Place, text with # in place of the number, and the number."""
    for place, text in texts():
        for match in _NUMBER.finditer(text):
            word, unit = match.group(1), match.group(2)
            size = _UNITS.get(unit) or _UNITS[unit.lower()]
            value = _WORDS.get(word.lower()) or int(word)
            marked = f"{text[: match.start()]}#{text[match.end() :]}"
            if marked not in OPTIONS:
                yield place, " ".join(marked.split()), value * size


def texts() -> Iterator[tuple[str, str]]:
    web = RUNTIME.parent / "web" / "src" / "locales" / "en.ts"
    for key, text in re.findall(r"^  '([\w.]+)': '(.*)',$", web.read_text(), re.MULTILINE):
        yield f"web {key}", text
    for folder in ("console/portal", "sharing"):
        for path in sorted((RUNTIME / "services" / folder / "locales").glob("*.json")):
            for key, text in json.loads(path.read_text()).items():
                yield f"{folder} {path.stem} {key}", text
    for words, command in leaf_commands(cli.command_line()):
        yield " ".join(words), command.help or ""
        for parameter in command.params:
            yield f"{' '.join(words)} {parameter.opts[0]}", getattr(parameter, "help", None) or ""
    for service in (console, gateway, sharing):
        yield from strings(service.document(), service.__name__)


def strings(value: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from strings(each, f"{place}/{key}")
    elif isinstance(value, list):
        for each in value:
            yield from strings(each, place)
    elif isinstance(value, str) and "/example" not in place:
        yield place, value


def test_stated_numbers_are_those_of_the_code() -> None:
    wrong = []
    used = set()
    for place, text, number in numbers():
        found = [words for words in STATED if words in text]
        used.update(found)
        if not any(STATED[words] in (number, None) for words in found):
            values = [STATED[words] for words in found]
            wrong.append(f"{place}: {text}: # is {number:g}, in the code {values or 'not known'}")
    assert wrong == []
    assert STATED.keys() - used == set()
