"""Objects of the console as resources: create, read, update and delete.

An object is created and rotated with an Idempotency-Key that depends only on the resource and on
the step, so that a repeated step after a crash returns the response of the first one, with its
token, for a day (docs/decisions/0014).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from gatehouse_client import Conflict, PreconditionFailed

from gatehouse_pulumi.console import Console, Fields
from gatehouse_pulumi.errors import ProviderError

DATA = json.loads((Path(__file__).parent / "resources.json").read_text())
_CHANGEABLE: dict[str, Fields] = DATA["changeable"]
REASON = "pulumi"
_UNORDERED = frozenset({"addresses", "cores", "events", "methods", "scopes", "tags"})
_LIMITS = frozenset({"limits", "shared_limits"})


@dataclass(frozen=True)
class State:
    """A resource in the state of a stack. id: of Pulumi."""

    id: str
    inputs: Fields
    outputs: Fields


@dataclass
class Resource:
    """A resource of the program. urn: with the ID of the provider in the state. taken: IDs of
    objects that the stack already has under this URN, which a creation must not return.
    """

    urn: str
    name: str
    taken: set[str] = field(default_factory=set)


def comparable(name: str, value: Any, *, drift: bool = False) -> Any:
    """A value in a form in which equal settings are equal. drift: without what requests change."""
    if isinstance(value, list) and name in _UNORDERED:
        return sorted(value)
    if isinstance(value, list) and name in _LIMITS:
        return [{"burst": limit["quota"], "cost": 1, **limit} for limit in value]
    if name == "expires_at" and isinstance(value, str):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            return value
    if drift and name == "credits" and isinstance(value, dict):
        return {"refill": None, **value, "remaining": 0}
    return value


def without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_null(item) for name, item in value.items() if item is not None}
    return [without_null(item) for item in value] if isinstance(value, list) else value


class Objects:
    """The objects of one resource type. An object has a name of its own, which is the ID."""

    noun: ClassVar[str]
    path: ClassVar[str]
    #: The argument that is the name, and its field in the API.
    key: ClassVar[tuple[str, str]] = ("name", "name")
    #: Computed outputs, which are fields of the view.
    computed: ClassVar[tuple[str, ...]] = ()
    renamed: ClassVar[Mapping[str, str]] = {}

    def __init__(self, console: Console) -> None:
        self.console = console

    @classmethod
    def type(cls) -> str:
        return cls.__name__.removesuffix("s")

    # The form of the API

    @classmethod
    def changeable(cls) -> Fields:
        """The arguments that an update can change, with the values of omitted arguments."""
        changeable: Fields = _CHANGEABLE[cls.type()]
        return changeable

    def body(self, inputs: Fields) -> Fields:
        """The request that creates an object."""
        argument, name = self.key
        return {name: inputs[argument], **self.fields(inputs, inputs.keys() - {argument})}

    def fields(self, inputs: Fields, names: Iterable[str]) -> Fields:
        """The fields of the API for arguments. An omitted argument has its default."""
        defaults = self.changeable()
        return {name: inputs.get(name, defaults[name]) for name in names if name in defaults}

    def values(self, view: Fields) -> Fields:
        """The arguments that an object has. None: it has no value of its own."""
        inherited = view.get("inherits", ())
        return {name: None if name in inherited else view.get(name) for name in self.changeable()}

    def outputs(self, view: Fields, inputs: Fields) -> Fields:
        values = {name: value for name, value in self.values(view).items() if value is not None}
        known = {"version": view["version"], "deployment": self.console.deployment}
        computed = {name: view[name] for name in self.computed}
        outputs: Fields = without_null({**values, **inputs, **known, **computed})
        return outputs

    def item_path(self, id: str) -> str:
        return f"{self.path}/{quote(id, '')}"

    # The life of an object

    def find(self, id: str) -> Fields | None:
        """The object with this ID, or None if there is none."""
        return self.console.get(self.item_path(id))

    def id_of(self, view: Fields) -> str:
        return str(view[self.key[1]])

    def create(self, resource: Resource, inputs: Fields) -> tuple[str, Fields]:
        view, _, _ = self.created(resource, inputs)
        return self.id_of(view), self.outputs(self.reconciled(view, inputs), inputs)

    def created(self, resource: Resource, inputs: Fields) -> tuple[Fields, str, Fields]:
        """The new object, or the one that an interrupted `pulumi up` has created, with the
        operation and its response.
        """
        body = self.body(inputs)
        for number in count():
            operation = f"create {resource.urn} {number}"
            response = self.console.replay(self.path, operation)
            if response is None:
                try:
                    response = self.console.post(self.path, body, operation)
                except Conflict as exc:
                    return self.existing(resource, body, exc), operation, {}
                return self.view_in(response), operation, response
            view = self.interrupted(response)
            if view is None or self.id_of(view) in resource.taken:
                continue
            identity = self.identity(view)
            if all(inputs.get(name, value) == value for name, value in identity.items()):
                return view, operation, response
        raise AssertionError

    def interrupted(self, response: Fields) -> Fields | None:
        """The object that an earlier request has created, or None if it no longer exists."""
        id = response.get("lost") or self.id_of(self.view_in(response))
        current = self.find(id)
        if current is None or "lost" in response:
            return current
        same = current["created_at"] == self.view_in(response)["created_at"]
        return current if same else None

    def existing(self, resource: Resource, body: Fields, exc: Conflict) -> Fields:
        """The object whose name is taken, if it can be used. Raises ProviderError."""
        id = str(body[self.key[1]])
        if self.find(id) is None:
            raise exc
        raise ProviderError(
            f"{self.key[0]}: the {self.noun} {id} exists already. Choose another name, or import "
            f"it: pulumi import gatehouse:index:{self.type()} {resource.name} {id}"
        )

    def view_in(self, response: Fields) -> Fields:
        """The object in the response to a request."""
        view: Fields = response.get(self.noun, response)
        return view

    def read(self, id: str, inputs: Fields, outputs: Fields) -> State | None:
        view = self.find(id)
        return None if view is None else self.state(view, inputs, outputs)

    def state(self, view: Fields, inputs: Fields, outputs: Fields) -> State:
        """The state of an object, with what was changed since `outputs`. Without inputs and
        outputs, it is imported.
        """
        inputs = dict(inputs) or self.identity(view)
        for name, value in self.values(view).items():
            default = self.default(name, view)
            before = inputs[name] if name in inputs else outputs.get(name, default)
            if comparable(name, value, drift=True) == comparable(name, before, drift=True):
                continue
            if value is None or (value == default and not inputs.get(name)):
                inputs.pop(name, None)
            else:
                inputs[name] = without_null(value)
        return State(self.id_of(view), inputs, self.outputs(view, inputs))

    def default(self, name: str, view: Fields) -> Any:
        return self.changeable()[name]

    def identity(self, view: Fields) -> Fields:
        """The arguments of an imported object that cannot change."""
        return {self.key[0]: view[self.key[1]]}

    def update(self, resource: Resource, old: State, inputs: Fields) -> Fields:
        view = self.find(old.id)
        if view is None:
            raise ProviderError(f"The {self.noun} {old.id} no longer exists. Run: pulumi refresh")
        view = self.patched(view, self.changes(old, inputs, view), old.outputs.get("version"))
        return self.outputs(view, inputs)

    def changes(self, old: State, inputs: Fields, view: Fields) -> Fields:
        """The fields to change, for the arguments that differ."""
        return self.fields(inputs, changed(old.inputs, inputs))

    def reconciled(self, view: Fields, inputs: Fields) -> Fields:
        """The object with the values of the program, which may have changed since an interrupted
        `pulumi up`.
        """
        values = self.values(view)
        differing = [
            name
            for name in values
            if name in inputs
            and comparable(name, values[name], drift=True)
            != comparable(name, inputs[name], drift=True)
        ]
        return self.patched(view, self.fields(inputs, differing), view["version"])

    def patched(self, view: Fields, changes: Fields, version: int | None) -> Fields:
        """The object after an update. version: that of the state. Raises ProviderError with the
        name of whoever changed the object since then.
        """
        if not changes:
            return view
        try:
            path = self.item_path(self.target(view))
            response = self.console.patch(path, changes, int(version or view["version"]))
            return self.view_in(response)
        except PreconditionFailed:
            values = self.api_values(view)
            if all(
                comparable(name, values.get(name), drift=True)
                == comparable(name, value, drift=True)
                for name, value in changes.items()
            ):
                return view  # an interrupted `pulumi up` has made the same changes
            raise self.changed(view) from None

    def api_values(self, view: Fields) -> Fields:
        return {**view, **self.values(view)}

    def changed(self, view: Fields) -> ProviderError:
        target = self.target(view)
        return ProviderError(
            f"The {self.noun} {target} was changed{self.console.last_change(target)} since this "
            "stack read it. Run `pulumi refresh` to see the change, then `pulumi up`."
        )

    def target(self, view: Fields) -> str:
        """The ID of the object in paths and in the audit trail."""
        return self.id_of(view)

    def delete(self, state: State, *, replaced: bool) -> None:
        """Deletes an object. Idempotent. replaced: another object has taken its place."""
        self.console.delete(self.item_path(state.id))


def changed(old: Fields, new: Fields) -> list[str]:
    """The arguments that differ, in order."""
    return [
        name
        for name in dict.fromkeys((*new, *old))
        if comparable(name, old.get(name)) != comparable(name, new.get(name))
    ]


class Plans(Objects):
    noun, path = "plan", "/v1/plans"


class Limits(Objects):
    noun, path = "limit", "/v1/limits"

    def fields(self, inputs: Fields, names: Iterable[str]) -> Fields:
        fields = super().fields(inputs, names)
        # An omitted burst is the quota.
        if {"burst", "quota"} & fields.keys() and "quota" in inputs:
            fields["burst"] = inputs.get("burst", inputs["quota"])
        return fields

    def default(self, name: str, view: Fields) -> Any:
        return view["quota"] if name == "burst" else super().default(name, view)


class Customers(Objects):
    noun, path, key = "customer", "/v1/customers", ("customer_id", "id")
    computed = ("state",)
    renamed = {"id": "customer_id"}  # noqa: RUF012  a constant

    def find(self, id: str) -> Fields | None:
        view = super().find(id)
        return None if view is None or view["state"] == "deleted" else view

    def existing(self, resource: Resource, body: Fields, exc: Conflict) -> Fields:
        """Restores a customer that was deleted: its ID stays reserved until it is purged."""
        path = self.item_path(body["id"])
        view = self.console.get(path)
        if view is None or view["state"] != "deleted":
            return super().existing(resource, body, exc)
        self.console.act(f"{path}/restore", REASON)
        restored = self.console.get(path) or view
        return self.patched(restored, self.fields(body, self.changeable()), restored["version"])

    def fields(self, inputs: Fields, names: Iterable[str]) -> Fields:
        fields = super().fields(inputs, names)
        if "name" in fields and not fields["name"]:
            fields["name"] = inputs.get("customer_id") or inputs["id"]
        return fields

    def default(self, name: str, view: Fields) -> Any:
        return view["id"] if name == "name" else super().default(name, view)

    def delete(self, state: State, *, replaced: bool) -> None:
        view = self.find(state.id)
        if view is None:
            return
        # A deleted customer that follows a plan would prevent the deletion of the plan.
        if view["plan"]:
            self.patched(view, {"plan": None}, view["version"])
        self.console.delete(self.item_path(state.id), {"reason": REASON})
