"""The resources of a deployed stack, in memory."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pulumi_local.types import Registration, Resource
from pulumi_local.values import encode


@dataclass(frozen=True)
class Entry:
    """A resource in a checkpoint. pending_deletion: the resource was replaced, and is deleted at
    the end of the run. unfinished: a part of its creation or update failed.
    """

    resource: Resource
    pending_deletion: bool = False
    unfinished: bool = False

    @property
    def registration(self) -> Registration:
        return self.resource.registration


class Checkpoint:
    """The deployed resources: those that the current run has registered, then those of the previous
    run that remain. A run that fails leaves the resources that exist.
    """

    def __init__(self) -> None:
        self._registered: list[Entry] = []
        self._previous: list[Entry] = []

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All entries. A resource is after the resources that it depends on."""
        return (*self._registered, *self._previous)

    @property
    def resources(self) -> tuple[Resource, ...]:
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
        self,
        resource: Resource,
        replaced: Entry | None = None,
        *,
        keep_replaced: bool = False,
        unfinished: bool = False,
    ) -> None:
        """Add a resource that the program registers, instead of an entry of the previous run, which
        can be kept for deletion.
        """
        # Files are stored with the hash of their content, because a file can change between runs.
        registration = replace(
            resource.registration, inputs=encode(resource.registration.inputs, with_hash=True)
        )
        registered = replace(resource, registration=registration)
        self._registered.append(Entry(registered, unfinished=unfinished))
        if replaced is not None and keep_replaced:
            position = self._previous.index(replaced)
            self._previous[position] = replace(replaced, pending_deletion=True)
        elif replaced is not None:
            self.remove(replaced)

    def remove(self, entry: Entry) -> None:
        self._previous.remove(entry)


def by_urn(entries: Iterable[Entry]) -> dict[str, Entry]:
    return {entry.registration.urn: entry for entry in entries if not entry.pending_deletion}
