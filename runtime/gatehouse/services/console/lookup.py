"""Recognizes what a user has pasted, and finds it: a token in any form, an ID, or a part of a name.

The text is in the body of the request, because it can be a secret. The response says whether it can
be part of an address.
"""

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice

import msgspec

from gatehouse.core import customers
from gatehouse.core.audit_events import AuditAction
from gatehouse.core.clock import rfc3339
from gatehouse.core.customers import Customer
from gatehouse.core.decision import result_text
from gatehouse.core.errors import Unavailable
from gatehouse.core.keys import Key, KeyId
from gatehouse.core.roles import AUDITORS, READERS
from gatehouse.core.texts import search_form
from gatehouse.core.tokens.imported_tokens import ImportedKeyIds, is_token
from gatehouse.core.tokens.token import ID_CHARS, id_start, is_marked
from gatehouse.features.audit.repository import AuditRepository
from gatehouse.features.audit.schemas import SearchAudit
from gatehouse.features.cores.repository import CoreRepository
from gatehouse.features.customers.repository import CustomerRepository
from gatehouse.features.customers.schemas import CustomerFilter
from gatehouse.features.keys.possession import finder_of
from gatehouse.features.keys.schemas import KeyFilter
from gatehouse.features.keys.service import KeyService
from gatehouse.features.operations.log_search import (
    REQUEST_ID,
    WINDOW_MS,
    LogQuery,
    LogStore,
    times_of_request,
)
from gatehouse.features.operations.schemas import Found, LookUp, Recognized
from gatehouse.features.secrets.link_token import PATH_CHARS
from gatehouse.features.secrets.models import ID_CHARS as SECRET_ID_CHARS
from gatehouse.features.secrets.models import Secret
from gatehouse.features.secrets.service import SecretService
from gatehouse.features.usage.repository import UsageRepository
from gatehouse.features.usage.schemas import FilterRequests
from gatehouse.platform.web.endpoint import Endpoint
from gatehouse.platform.web.request import Caller, Request
from gatehouse.services.console.references import References

#: Maximum number of results of a kind, of words that can be tokens, and of characters of a name.
RESULTS_MAX, WORDS_MAX, NAME_CHARS_MAX = 5, 40, 100
#: Number of secrets of an owner, the newest, whose labels are searched. DynamoDB has no index of
#: labels, and returns 10 items per call.
SECRETS_MAX = 100

#: The parts of names, tags and e-mail addresses are shorter. Longer ones can be secrets.
PART_CHARS_MAX = 24

#: The ID in the token of a key, also if the end of the token is missing.
_TOKEN = re.compile(rf"_(?:live|test)_([0-9A-Za-z]{{{ID_CHARS}}})([0-9A-Za-z]*)")
#: The bootstrap token, and the secret part of a link.
_OTHER_SECRET = re.compile(r"_admin_[0-9A-Za-z]{20}|(?:#|%23)(?:sign-in=)?[0-9A-Za-z]{20}")
#: The IDs of a key, of a secret, and of a secret with a link.
_ID = re.compile(
    rf"(?:(?<![0-9A-Za-z_])(?:[0-9A-Za-z]{{{ID_CHARS}}}|[0-9A-Za-z]{{{SECRET_ID_CHARS}}})"
    rf"|(?<=/s/)[0-9A-Za-z]{{{PATH_CHARS}}})(?![0-9A-Za-z])"
)
_BEGIN = re.compile(r"(?:[\w-]{1,40}:\s*)?(?:(?:bearer|basic)\s+)?", re.IGNORECASE)
_QUOTES, _ENDS = re.compile(r"[\s\"'`\\]+"), " \t\r\n\"'`,;"


class Pasted(msgspec.Struct, frozen=True):
    """Parts of a text. words: they can be tokens of imported keys. is_secret: an address must not
    contain the text.
    """

    key_ids: list[str]
    secret_ids: list[str]
    request_ids: list[str]
    words: list[str]
    is_secret: bool


def recognize(text: str) -> Pasted:
    joined = _QUOTES.sub("", text)
    tokens = [*_TOKEN.finditer(text), *_TOKEN.finditer(joined)]
    request_ids = REQUEST_ID.findall(text)
    without_ids = REQUEST_ID.sub("", text)
    ids = _ID.findall(without_ids)
    credential = _QUOTES.sub("", _BEGIN.sub("", text.strip(_ENDS), count=1).strip(_ENDS))
    words = [credential]
    for word in re.split(r"[\s\"'`,;<>(){}\[\]|\\]+", text):
        words += [word, *re.split(r"[:=]+", word)[1:]]
    parts = [part for part in re.split(r"[\W_]+", without_ids) if len(part) > PART_CHARS_MAX]
    return Pasted(
        [
            *dict.fromkeys(
                [match[1] for match in tokens] + [id for id in ids if len(id) == ID_CHARS]
            )
        ],
        [*dict.fromkeys(id[:SECRET_ID_CHARS] for id in ids if len(id) > ID_CHARS)],
        [*dict.fromkeys(request_ids)],
        [*dict.fromkeys(word for word in words if is_token(word))][:WORDS_MAX],
        any(match[2] for match in tokens)
        or bool(_OTHER_SECRET.search(joined))
        or any(part not in ids for part in parts),
    )


@dataclass(frozen=True, slots=True)
class Lookup:
    """Finds objects by what was pasted.

    secrets: None if secret sharing is not configured. logs: None if they cannot be searched.
    """

    keys: KeyService
    customers: CustomerRepository
    secrets: SecretService | None
    cores: CoreRepository
    audit: AuditRepository
    usage: UsageRepository
    logs: LogStore | None
    references: References

    async def find(self, body: LookUp, caller: Caller, now: float) -> Recognized:
        pasted, text = recognize(body.text), body.text.strip()
        customer = await self._customer(text)
        keys, is_secret = dict[str, Key](), pasted.is_secret and not customer
        ids = [id for id in pasted.key_ids if is_marked(id, self.keys.pepper)]
        for key_id in ids[:RESULTS_MAX]:
            await self._add_key(key_id, keys)
        if (key := await self._imported(pasted.words)) is not None:
            keys[key.id], is_secret = key, True
        found = list[Found]()
        for request_id in pasted.request_ids[:RESULTS_MAX]:
            found += await self._request(request_id, keys, caller)
        searched: tuple[int, int] | None = None
        if body.logs and self.logs and pasted.request_ids and not keys and caller.roles & AUDITORS:
            searched = await self._in_logs(self.logs, pasted.request_ids[0], keys, now)
        named = [_key(key, exact=key.id == text) for key in keys.values()]
        found = [*named, *found, *await self._secrets(pasted, caller)]
        if not (is_secret or found) and 0 < len(text) <= NAME_CHARS_MAX:
            found = await self._named(text, caller)
        if not is_secret:
            found = [*customer, *(each for each in found if each not in customer)]
        times = [rfc3339(time / 1000, "milliseconds") for time in searched or ()]
        return Recognized(found, None if is_secret else text, *times)

    async def _customer(self, text: str) -> list[Found]:
        """The customer with this ID, which an address can contain even if it is long."""
        known = await self.customers.get(text) if re.fullmatch(customers.ID, text) else None
        return [_customer(known[0], exact=True)] if known else []

    async def _add_key(self, key_id: str, keys: dict[str, Key]) -> None:
        if (key := await self.keys.store.get(KeyId(key_id))) is not None:
            keys[key.id] = key

    async def _imported(self, words: list[str]) -> Key | None:
        """The key with one of these tokens, also of another kind."""
        finder = finder_of(self.keys.store, self.keys.pepper, self.keys.prefix)
        known = await finder.imported_ids()

        async def imported_ids() -> ImportedKeyIds:
            return known

        finder = replace(finder, imported_ids=imported_ids)
        for word in words:
            if (key := await finder.proven(word)) is not None:
                return key
        return None

    async def _request(self, request_id: str, keys: dict[str, Key], caller: Caller) -> list[Found]:
        """Where a request is recorded. Adds its key."""
        only, found = FilterRequests(request_id=request_id), list[Found]()
        requests, _ = await self.usage.requests(only, after=None, size=1)
        for each, _ in requests:
            await self._add_key(each.key_id, keys)
            label = " ".join(filter(None, (result_text(each.failed_check), each.detail)))
            found.append(Found("requests", request_id, label, f"/requests?request_id={request_id}"))
        if caller.roles & AUDITORS:
            search = SearchAudit(request_id=request_id)
            events, _ = await self.audit.page(after=None, size=1, only=search)
            path = f"/audit?request_id={request_id}"
            found += [Found("events", request_id, row.event.action, path) for row in events]
            if self.logs:
                found.append(Found("logs", request_id, "", f"/logs?request_id={request_id}"))
        return found

    async def _in_logs(
        self, logs: LogStore, request_id: str, keys: dict[str, Key], now: float
    ) -> tuple[int, int]:
        """Adds the key in the lines of a request. Returns the time that was searched. Most requests
        end in the first minute, which is one window of CloudWatch Logs."""
        first, end = times_of_request(request_id, now)
        searched = first
        for until in (min(first + WINDOW_MS, end), end):
            if keys or searched == until:
                break
            query = LogQuery(searched, until, request_id=request_id)
            page = await logs.search(query, RESULTS_MAX)
            for key_id in {str(line["key_id"]) for line in page.lines if line.get("key_id")}:
                await self._add_key(key_id, keys)
            if page.searched_since > searched:
                break
            searched = until
        return first, searched

    async def _secrets(self, pasted: Pasted, caller: Caller) -> list[Found]:
        found = list[Found]()
        for secret_id in pasted.secret_ids[:RESULTS_MAX] if self.secrets else ():
            secret = await self.secrets.table.get(secret_id)  # type: ignore[union-attr]
            if secret and (secret.owner == caller.owner or caller.roles & AUDITORS):
                found.append(_secret(secret))
        return found

    async def _labelled(self, text: str, caller: Caller) -> list[Found]:
        """Secrets of the caller with this text in their labels, and those of an owner of this name
        that the caller may list."""
        found = list[Found]()
        owners = {caller.owner, text} if caller.roles & AUDITORS else {caller.owner}
        with suppress(Unavailable):  # other objects are also found without DynamoDB
            for owner in owners if self.secrets else ():
                table = self.secrets.table  # type: ignore[union-attr]
                secrets, _ = await table.of_owner(owner, after=None, size=SECRETS_MAX)
                named = (
                    each
                    for each in map(_secret, secrets)
                    if owner == text or search_form(text) in search_form(each.label)
                )
                found += islice(named, RESULTS_MAX)
        return found

    async def _named(self, text: str, caller: Caller) -> list[Found]:
        """Customers, keys, secrets, Cores and actions of audit events with this text in their
        names.
        """
        named, _ = await self.customers.page(
            CustomerFilter(search=text), after=None, size=RESULTS_MAX, sort="name"
        )
        only = KeyFilter(search=text)
        start = id_start(text, self.keys.prefix)
        page, _ = await self.keys.store.page(
            after=None, size=RESULTS_MAX, only=only, id_start=start
        )
        exact, found = await self._exact(text), [_customer(customer) for customer, _ in named]
        found += [*map(_key, page), *await self._labelled(text, caller)]
        if caller.roles & AUDITORS:
            names = await self.cores.names(text, RESULTS_MAX)
            actions = [action for action in AuditAction if text.lower() in action.value]
            found += [Found("core", name, name, "/cores", name == text) for name in names]
            found += [
                Found("events", action.value, action.value, f"/audit?action={action.value}")
                for action in actions[:RESULTS_MAX]
            ]
        ids = {(each.kind, each.id) for each in exact}
        return [*exact, *(each for each in found if (each.kind, each.id) not in ids)]

    async def _exact(self, text: str) -> list[Found]:
        """The customers and the keys that a reference with this text means."""
        found = list[Found]()
        for each in await self.references.named(text, ("customer",)):
            known = await self.customers.get(each.id)
            found += [_customer(known[0], exact=True)] if known else []
        for each in await self.references.named(text, ("key",)):
            key = await self.keys.store.get(KeyId(each.id))
            found += [_key(key, exact=True)] if key else []
        return found


def _customer(customer: Customer, *, exact: bool = False) -> Found:
    return Found("customer", customer.id, customer.name, f"/customers/{customer.id}", exact)


def _key(key: Key, *, exact: bool = False) -> Found:
    return Found("key", key.id, key.name, f"/keys/{key.id}", exact)


def _secret(secret: Secret) -> Found:
    label = secret.label or (secret.request.purpose if secret.request else "")
    return Found("secret", secret.id, label, f"/secrets/{secret.id}")


async def look_up(request: Request, body: LookUp, lookup: Lookup) -> Recognized:
    """Recognize a text, and find what it names.

    No address contains the text.
    """
    return await lookup.find(body, request.authenticated, request.now)


ENDPOINTS = (
    Endpoint(
        "POST",
        "/v1/lookup",
        look_up,
        tag="operations",
        roles=READERS,
        read_only=True,
        secret_fields=frozenset({"text"}),
    ),
)
