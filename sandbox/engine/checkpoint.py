"""The resources of a deployed stack, stored in a file while a run changes them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gatehouse_policies.files import write_private
from gatehouse_policies.program.types import Registration, Resource
from gatehouse_policies.program.values import encode

from sandbox.engine.stack_export import resource_row, stack_row, version_3


@dataclass(frozen=True, slots=True)
class Entry:
    """A resource in a checkpoint. pending_deletion: the resource was replaced, and is deleted at
    the end of the run.
    """

    resource: Resource
    pending_deletion: bool = False

    @property
    def registration(self) -> Registration:
        return self.resource.registration


class Checkpoint:
    """The deployed resources: those that the current run has registered, then those of the previous
    run that remain.

    The file is written after each change, atomically and with mode 0600, because it contains secret
    values as plaintext. It has the format of `pulumi stack export --show-secrets`. Without a file,
    the checkpoint is in memory only.
    """

    def __init__(self, project: str, stack: str, file: Path | None = None) -> None:
        self.file = file
        self.stack_urn = f"urn:pulumi:{stack}::{project}::pulumi:pulumi:Stack::{project}-{stack}"
        self._exports: Mapping[str, Any] = {}
        self._registered: list[Entry] = []
        self._previous: list[Entry] = []
        self._rows: dict[int, tuple[Entry, str]] = {}

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All entries. A resource is after the resources that it depends on."""
        return (*self._registered, *self._previous)

    @property
    def resources(self) -> tuple[Resource, ...]:
        """The deployed resources, without those that are pending deletion."""
        return tuple(entry.resource for entry in self.entries if not entry.pending_deletion)

    @property
    def remaining(self) -> tuple[Entry, ...]:
        """The entries of the previous run that the current run has not registered, or has
        replaced.
        """
        return tuple(self._previous)

    def begin(self) -> tuple[Entry, ...]:
        """Begin a run. Returns the entries of the previous run, which may have been interrupted."""
        self._previous, self._registered = list(self.entries), []
        return tuple(self._previous)

    def register(
        self, resource: Resource, replaced: Entry | None = None, *, keep_replaced: bool = False
    ) -> None:
        """Add a resource that the program registers, instead of an entry of the previous run, which
        can be kept for deletion.
        """
        registration = replace(
            resource.registration, inputs=encode(resource.registration.inputs, with_hash=True)
        )
        entry = Entry(Resource(registration, resource.id, encode(resource.outputs, with_hash=True)))
        self._registered.append(entry)
        if replaced is not None and keep_replaced:
            self._previous[self._previous.index(replaced)] = replace(
                replaced, pending_deletion=True
            )
            self.save()
        else:
            self.remove(replaced)

    def remove(self, entry: Entry | None) -> None:
        """Remove an entry of the previous run, if it is not None."""
        if entry is not None:
            self._previous.remove(entry)
        self.save()

    def complete(self, exports: Mapping[str, Any]) -> None:
        """End a run and store the exports of the stack."""
        self._exports = exports
        self.save()

    def save(self) -> None:
        """Write the file."""
        if self.file is None:
            return
        if not self.entries:
            self.file.unlink(missing_ok=True)
            return
        # Only changed rows are encoded again, because the file is written after each of several
        # hundred resources.
        self._rows = {
            id(entry): self._rows.get(id(entry)) or (entry, self._row(entry))
            for entry in self.entries
        }
        stack = json.dumps(stack_row(self.stack_urn, encode(self._exports)))
        start, end = json.dumps(version_3(["rows"])).split('"rows"')  # type: ignore[list-item]
        write_private(
            self.file, start + ",\n".join([stack, *(row for _, row in self._rows.values())]) + end
        )

    def _row(self, entry: Entry) -> str:
        row = resource_row(entry.resource, self.stack_urn, show_secrets=True)
        return json.dumps({**row, "delete": True} if entry.pending_deletion else row)


def by_urn(entries: Iterable[Entry]) -> dict[str, Entry]:
    """The entries that are not pending deletion, keyed by URN."""
    return {entry.registration.urn: entry for entry in entries if not entry.pending_deletion}
