"""Commands for one key or customer, or for all that match filters."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import typer
from gatehouse_client import ConsoleClient

from gatehouse.commands.cli.common.lists import Listing
from gatehouse.commands.cli.common.options import Output, console_command
from gatehouse.commands.cli.common.output import (
    Column,
    note,
    print_items,
    print_sentence,
    printable,
    reject,
)
from gatehouse.commands.cli.common.shapes import parameters, request
from gatehouse.core.notation import count
from gatehouse.core.tokens.token_scanner import redacted
from gatehouse.features.keys.schemas import ReasonBody
from gatehouse.features.operations.schemas import Recognized
from gatehouse.platform.web.fields import PAGE_SIZE_MAX

IdArgument = Annotated[
    str, typer.Argument(metavar="[ID]", help="ID or name, instead of the filters.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="List them without changing them.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Change all that match the filters.")]

#: Sentences for the values of `effective`.
PROPAGATION = {
    "everywhere": "In effect at every gateway.",
    "within_bound": "In effect at every gateway within the propagation bound.",
    "within_outage_bound": "A gateway that cannot read the database may apply the change only "
    "after GATEHOUSE_DATABASE_OUTAGE_MAX_S.",
    "announced": "The database is not available. In effect within the propagation bound at every "
    "gateway that can read Redis; stored when the database is available.",
}


@dataclass(frozen=True, kw_only=True)
class Items:
    """Keys or customers. is_id: whether a text has the form of an ID. example: filters."""

    noun: str
    path: str
    view: type[Any]
    filters: type[msgspec.Struct]
    columns: tuple[Column, ...]
    is_id: Callable[[str], bool]
    example: str

    def resolve(self, client: ConsoleClient, text: str) -> str:
        """The ID for an ID, a name or a tag. Says which item a name means. Exits with a usage error
        if none or several have it, and for a token, which nobody should type.
        """
        if redacted(text) != text:
            reject(f"ID must be the ID or the name of a {self.noun}, not a token")
        if self.is_id(text):
            return text
        found = client.call(Recognized, "POST", "/v1/lookup", {"text": text}).found
        named = [each for each in found if each.kind == self.noun]
        exact = [each.id for each in named if each.exact]
        items = [
            f"{each.id} ({printable(each.label)})" for each in named if each.exact or not exact
        ]
        if not exact:
            similar = f"; similar: {', '.join(items)}" if items else ""
            reject(f"no {self.noun} has this ID, name or tag{similar}")
        if len(exact) > 1:
            reject(f"several {self.noun}s have this name or tag; use an ID: {', '.join(items)}")
        note(f"{self.noun.capitalize()} {items[0]}")
        return exact[0]

    @property
    def ambiguous(self) -> str:
        return f"use either the ID or name of a {self.noun}, or filters"

    def _query(self, client: ConsoleClient, filters: dict[str, Any]) -> dict[str, Any]:
        """A token is never searched, because the search is part of the URL: the ID of its key is
        searched instead.
        """
        if "search" in filters:
            recognized = client.call(Recognized, "POST", "/v1/lookup", {"text": filters["search"]})
            if recognized.search is None:
                ids = [each.id for each in recognized.found if each.kind == self.noun]
                if not ids:
                    reject(f"no {self.noun} has this token; the text was not searched")
                return {**filters, "search": ids[0]}
        return filters

    def find(self, client: ConsoleClient, filters: dict[str, Any]) -> list[Any]:
        filters = self._query(client, filters)
        return list(client.items(self.view, self.path, **filters, limit=PAGE_SIZE_MAX))

    def listing(
        self, client: ConsoleClient, filters: dict[str, Any], limit: int, everything: bool
    ) -> Output:
        """The first items that match the filters, or all."""
        query, limit = self._query(client, filters), 0 if everything else limit
        items = Listing(client, self.view, self.path, query, noun=self.noun, limit=limit)

        def show() -> None:
            print_items(items, *self.columns)
            items.note_end()

        return items, show

    def select(
        self, client: ConsoleClient, id: str, filters: dict[str, Any], states: Collection[str]
    ) -> list[Any]:
        """The item with the ID, or those in these states that match the filters."""
        if bool(id) is bool(filters):
            reject(self.ambiguous)
        if id:
            return [client.get(self.view, f"{self.path}/{self.resolve(client, id)}")]
        return [item for item in self.find(client, filters) if item.state in states]

    def confirm(self, items: list[Any], yes: bool) -> None:
        if not yes:
            reject(f"{count(len(items), self.noun)} would be changed: add --yes, or --dry-run")

    def show(self, items: list[Any]) -> None:
        print_items(items, *self.columns)
        note(count(len(items), self.noun))


@dataclass(frozen=True, kw_only=True)
class Action:
    """states: of the items that filters select. response: has the changed item and `effective`."""

    name: str
    done: str
    states: tuple[str, ...]
    help: str
    response: type[Any]

    def command(self, items: Items) -> Callable[..., Output]:
        def act(
            client: ConsoleClient,
            id: IdArgument = "",
            dry_run: DryRunOption = False,
            yes: YesOption = False,
            **settings: Any,
        ) -> Output:
            body = request({"reason": settings.pop("reason")})
            filters = request(settings)
            if id and not dry_run:
                if filters:
                    reject(items.ambiguous)
                id = items.resolve(client, id)
                changed = self._change(client, items, id, body)
                return changed, lambda: print_sentence(self._sentence(items, changed, id))
            selected = items.select(client, id, filters, self.states)
            if dry_run:
                return selected, lambda: items.show(selected)
            items.confirm(selected, yes)
            for item in selected:  # each line says what was done, even if a later change fails
                changed = self._change(client, items, item.id, body)
                note(self._sentence(items, changed, item.id))
            return selected, lambda: note(count(len(selected), items.noun))

        return act

    def _change(self, client: ConsoleClient, items: Items, id: str, body: dict[str, Any]) -> Any:
        path = f"{items.path}/{id}"
        if self.name == "delete":
            return client.call(self.response, "DELETE", path, body)
        return client.call(self.response, "POST", f"{path}/{self.name}", body)

    def _sentence(self, items: Items, changed: Any, id: str) -> str:
        return sentence(self.done, getattr(changed, items.noun), changed.effective, id)


def sentence(done: str, item: Any, effective: str, id: str = "") -> str:
    """Says what was changed. item: None while the database is not available."""
    text = id
    if item is not None:
        is_revoked = item.state == "revoked"
        end = f" at {item.revoked_at}" if is_revoked else f", state {item.state}"
        text = f"{item.id} ({item.name}){end}"
    return f"{done} {text}. {PROPAGATION[effective]}"


def register(app: typer.Typer, items: Items, *actions: Action) -> None:
    """Adds the commands of the actions to a group."""
    options = [*parameters(items.filters), *parameters(ReasonBody)]
    for action in actions:
        example = f"Example: gatehouse {app.info.name} {action.name} {items.example}"
        help, command = f"{action.help}\n\n{example}", action.command(items)
        console_command(app, command, action.name, help=help, options=options)
