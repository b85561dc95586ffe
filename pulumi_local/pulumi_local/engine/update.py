"""Updates and destroys a stack with the steps and in the order of the Pulumi engine.

Source: step_generator.go of pulumi/pulumi. Resources are created and updated in the order in which
the program registers them, and deleted at the end, in reverse order. A replacement is created
first, unless `delete_before_replace` is True, or is not set and both would have the same name; then
the dependents that it replaces are deleted with it.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from pulumi_local.engine.checkpoint import Checkpoint, Entry, by_urn
from pulumi_local.engine.steps import (
    Difference,
    Operation,
    Step,
    changed_properties,
    keeps_name,
    operation,
    replaces,
    with_ignored_changes,
)
from pulumi_local.errors import CommandError
from pulumi_local.outputs.providers import PROVIDER_PREFIX, ProviderConfigs
from pulumi_local.runner import run
from pulumi_local.types import Deployment, Provider, Registration, Resource

Report = Callable[[Step], None]


class NotUpdatable(Exception):
    """A provider cannot make a change in place that AWS makes in place. The text says why."""


class PartialError(CommandError):
    """A resource of which a part was created or changed. The next update continues from its ID and
    outputs.
    """

    def __init__(self, message: str, identity: str, outputs: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.identity = identity
        self.outputs = dict(outputs)


class ResourceProvider(Provider, Protocol):
    """A provider that can also change and delete resources. Methods may raise `CommandError`;
    `create` and `update` may raise `PartialError`.
    """

    def check(self, registration: Registration, old: Resource | None) -> Registration:
        """The registration with the inputs that the provider accepts and completes."""
        ...

    def difference(
        self, old: Resource, registration: Registration, changed: tuple[str, ...]
    ) -> Difference:
        """The operation on a resource that exists. changed: as in `update`."""
        ...

    def update(
        self, old: Resource, registration: Registration, changed: frozenset[str]
    ) -> tuple[str, dict[str, Any]]:
        """Change the resource. Returns its ID and its outputs. Raises NotUpdatable.

        changed: the inputs that differ, including `tagsAll`.
        """
        ...

    def delete(self, resource: Resource) -> None:
        """Delete the resource. A resource that does not exist is not an error."""
        ...


class AwsRules:
    """The rules of pulumi-aws (replacement.toml), for a provider that emulates AWS."""

    def check(self, registration: Registration, old: Resource | None) -> Registration:
        return registration

    def difference(
        self, old: Resource, registration: Registration, changed: tuple[str, ...]
    ) -> Difference:
        kind = operation(registration, changed)
        return Difference(kind, changed, keeps_name(old.registration, registration))


def update(
    program: Path,
    stack: str,
    provider: ResourceProvider,
    checkpoint: Checkpoint,
    *,
    report: Report,
    config: Mapping[str, str] | None = None,
) -> Deployment:
    """Run a program and change the resources of the checkpoint to those that the program declares.

    report: called after each step, except `same`. config: see `run`. Raises CommandError. The
    checkpoint then contains the resources that exist, and the next update continues from there.
    """
    updater = Updater(provider, checkpoint, report)
    deployment = run(
        program, stack, updater, preview=False, on_resource=updater.add_component, config=config
    )
    updater.delete_remaining()
    return deployment


def destroy(provider: ResourceProvider, checkpoint: Checkpoint, report: Report) -> None:
    """Delete the resources of the checkpoint, in reverse order.

    Raises CommandError, for a protected resource before the first deletion.
    """
    Updater(provider, checkpoint, report).delete_remaining()


class Updater:
    """The provider of one run, which compares each registration with the checkpoint."""

    def __init__(self, provider: ResourceProvider, checkpoint: Checkpoint, report: Report) -> None:
        self._provider = provider
        self._checkpoint = checkpoint
        self._report = report
        self._previous = checkpoint.begin()
        self._old = by_urn(self._previous)
        self._deleted, self._replaced = set[str](), set[str]()
        self._old_providers, self._new_providers = ProviderConfigs(), ProviderConfigs()
        for entry in self._previous:
            self._old_providers.declare(entry.registration)
            if entry.registration.type.startswith(PROVIDER_PREFIX):
                provider.create(entry.registration)  # configures it, for deletions

    def create(self, registration: Registration) -> tuple[str, dict[str, Any]]:
        """Create, update, replace or keep the resource. Returns its ID and its outputs."""
        self._new_providers.declare(registration)
        old = self._find(registration)
        if registration.type.startswith("pulumi:"):  # a provider
            return self._add(registration, *self._provider.create(registration), old)
        if old is None:
            urns = {registration.urn, *registration.aliases}
            self._deleted -= urns
            if self._replaced & urns:
                self._replaced.add(registration.urn)
            registration = self._provider.check(registration, None)
            created = self._create(registration, None)
            self._done("create", registration, ())
            return created
        if registration.deleted_with in self._replaced:
            registration = self._provider.check(registration, old.resource)
            return self._replace(registration, old, ("deletedWith",))
        registration = with_ignored_changes(old.registration, registration)
        registration = self._provider.check(registration, old.resource)
        changed = self._changed(old, registration)
        difference = self._provider.difference(old.resource, registration, changed)
        kind, changed = difference.operation, difference.properties
        if kind == "same" and not old.unfinished:
            return self._add(registration, old.resource.id, old.resource.outputs, old)
        if kind in ("same", "update"):
            return self._update(registration, old, changed)
        unknown = "it is not known whether AWS changes this in place" if kind == "unknown" else ""
        return self._replace(
            registration, old, changed, unknown, delete_first=difference.delete_first
        )

    def invoke(
        self, token: str, args: dict[str, Any], provider: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        return self._provider.invoke(token, args, provider)

    def add_component(self, resource: Resource) -> None:
        if not resource.registration.custom:
            old = self._find(resource.registration)
            if old is not None and resource.registration.deleted_with in self._replaced:
                self._replaced.add(resource.registration.urn)
            self._checkpoint.register(resource, old)

    def delete_remaining(self) -> None:
        """Delete the resources that the program did not register, and the resources that were
        replaced.
        """
        remaining = self._checkpoint.remaining
        deleted = [entry for entry in remaining if not entry.pending_deletion]
        _reject_protected(deleted)
        self._deleted |= {entry.registration.urn for entry in remaining}
        for entry in reversed(remaining):
            self._delete(entry)

    def _find(self, registration: Registration) -> Entry | None:
        """The entry with the URN of the registration, or with one of its aliases. Each entry is
        found once.
        """
        for urn in (registration.urn, *registration.aliases):
            if (entry := self._old.pop(urn, None)) is not None:
                return entry
        return None

    def _changed(self, old: Entry, registration: Registration) -> tuple[str, ...]:
        before = self._old_providers.inputs(old.registration)
        return changed_properties(before, self._new_providers.inputs(registration))

    def _update(
        self, registration: Registration, old: Entry, changed: tuple[str, ...]
    ) -> tuple[str, dict[str, Any]]:
        try:
            identity, outputs = self._provider.update(
                old.resource, registration, frozenset(changed)
            )
        except PartialError as partial:
            self._add(registration, partial.identity, partial.outputs, old, unfinished=True)
            raise
        except NotUpdatable as reason:
            return self._replace(
                registration,
                old,
                changed,
                f"{reason}; AWS updates it in place",
                only_in_emulator=True,
            )
        self._add(registration, identity, outputs, old)
        self._done("update", registration, changed)
        return identity, outputs

    def _replace(
        self,
        registration: Registration,
        old: Entry,
        changed: tuple[str, ...],
        note: str = "",
        *,
        delete_first: bool = False,
        only_in_emulator: bool = False,
    ) -> tuple[str, dict[str, Any]]:
        """Replace a resource.

        delete_first: the order if the program does not set it.
        only_in_emulator: the replacement does not replace other resources, as AWS updates the
            resource in place.
        """
        if old.registration.protect and registration.protect:
            raise CommandError(
                f"{registration.urn}: a change of {', '.join(changed)} replaces this resource, "
                f"which is protected{f' ({note})' if note else ''}. Run `up` with protect=False "
                "first, or undo the change."
            )
        if not only_in_emulator:
            self._replaced.add(registration.urn)
        if registration.delete_before_replace is not None:
            delete_first = registration.delete_before_replace
        if only_in_emulator or delete_first:
            dependents = [] if only_in_emulator else self._replaced_dependents(old)
            _reject_protected(dependents)
            urns = {entry.registration.urn for entry in (*dependents, old)}
            if not only_in_emulator:
                self._replaced |= urns
                self._deleted |= urns
            for entry in (*reversed(dependents), old):
                self._old.pop(entry.registration.urn, None)
                self._delete(entry)
            previous = None
        else:
            previous = old
        created = self._create(registration, previous, replaced=True)
        self._done("replace", registration, changed, note)
        return created

    def _replaced_dependents(self, old: Entry) -> list[Entry]:
        """The resources that are replaced if an input that comes from the resource, or from one of
        them, changes, or that are deleted with one of them.
        """
        replaced, dependents = {old.registration.urn}, []
        for entry in self._previous:
            registration = entry.registration
            if registration.urn not in self._old or not registration.custom:
                continue
            names = {
                name
                for name, urns in registration.property_dependencies.items()
                if replaced & set(urns)
            }
            if registration.deleted_with in replaced or any(
                replaces(registration.type, name) is not False for name in names
            ):
                replaced.add(registration.urn)
                dependents.append(entry)
        return dependents

    def _create(
        self, registration: Registration, old: Entry | None, *, replaced: bool = False
    ) -> tuple[str, dict[str, Any]]:
        try:
            identity, outputs = self._provider.create(registration)
        except PartialError as partial:
            self._add(
                *(registration, partial.identity, partial.outputs, old),
                replaced=replaced,
                unfinished=True,
            )
            raise
        return self._add(registration, identity, outputs, old, replaced=replaced)

    def _add(
        self,
        registration: Registration,
        identity: str,
        outputs: dict[str, Any],
        old: Entry | None,
        *,
        replaced: bool = False,
        unfinished: bool = False,
    ) -> tuple[str, dict[str, Any]]:
        resource = Resource(registration, identity, outputs)
        self._checkpoint.register(resource, old, keep_replaced=replaced, unfinished=unfinished)
        return identity, outputs

    def _delete(self, entry: Entry) -> None:
        registration = entry.registration
        exists = registration.custom and not registration.type.startswith("pulumi:")
        kept = registration.retain_on_delete or registration.deleted_with in self._deleted
        if exists and not kept:
            self._provider.delete(entry.resource)
        self._checkpoint.remove(entry)
        if exists:
            self._done("retain" if registration.retain_on_delete else "delete", registration, ())

    def _done(
        self, kind: Operation, registration: Registration, changed: tuple[str, ...], note: str = ""
    ) -> None:
        self._report(
            Step(kind, registration.type, registration.name, registration.urn, changed, note)
        )


def _reject_protected(entries: Iterable[Entry]) -> None:
    """Raise CommandError that names each protected resource."""
    urns = [entry.registration.urn for entry in entries if entry.registration.protect]
    if urns:
        listed = "".join(f"\n  {urn}" for urn in urns)
        raise CommandError(
            f"{len(urns)} protected resource{'s' * (len(urns) > 1)} cannot be deleted. Nothing was "
            f"deleted. Run `up` with protect=False for each of them first:{listed}"
        )
