"""Objects with a token: keys, keys with a role, keys of Cores, and webhooks.

The token is written to its destination in the same operation that creates it. The state contains
the ID of the key whose token was written. `pending` is the operation whose token was not, from
which the next `pulumi up` continues.
"""

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from gatehouse_client import ApiError, Conflict

from gatehouse_pulumi.console import Fields
from gatehouse_pulumi.destinations import Destination, destination
from gatehouse_pulumi.errors import PartialError, ProviderError, explained
from gatehouse_pulumi.objects import REASON, Objects, Resource, State, changed, comparable

GRACE_S = 86_400
_USABLE = ("active", "disabled")


class Issued(Objects):
    """Objects whose creation and rotation return a token. The ID of the resource does not change
    in a rotation.
    """

    #: The field of a response that contains the token.
    token: ClassVar[str]
    rotate: ClassVar[str]
    #: The field of a rotation for the grace period.
    grace: ClassVar[str]
    #: Outputs that the console does not know.
    kept: ClassVar[tuple[str, ...]] = ("pending", "destination_version", "written_id")

    def existing(self, resource: Resource, body: Fields, exc: Conflict) -> Fields:
        raise exc

    def create(self, resource: Resource, inputs: Fields) -> tuple[str, Fields]:
        """Raises ProviderError if the token cannot be written: the object is then deleted again, so
        that nobody has to look for it.
        """
        target = destination(inputs["destination"])
        target.check()
        view, operation, response = self.created(resource, inputs)
        id = self.id_of(view)
        try:
            view = self.reconciled(view, inputs)
            if self.token not in response:
                view, operation, response = self.rotated(view, inputs, {})
            outputs = self.outputs(view, inputs)
            return id, self.written(target, view, operation, response, outputs)
        except (ProviderError, ApiError) as exc:
            error = exc if isinstance(exc, ProviderError) else explained(exc, self.renamed)
            try:
                self.end(id)
            except (ProviderError, ApiError):
                pending = {**self.outputs(view, inputs), "pending": self.pending(operation)}
                raise PartialError(str(error), id, pending) from None
            raise error from None

    def update(self, resource: Resource, old: State, inputs: Fields) -> Fields:
        target = destination(inputs["destination"])
        target.check()
        view = self.find(old.id)
        if view is None:
            raise ProviderError(
                f"The {self.noun} {old.id} has ended. Run `pulumi refresh`, then `pulumi up`, "
                "which creates a new one."
            )
        operation, response = self.unfinished(old, view, inputs)
        version = old.outputs.get("version")
        if view["id"] != old.outputs.get("key_id", old.id):
            if not response:
                raise self.changed(view)
            version = view["version"]  # of the key that the interrupted rotation has created
        view = self.patched(view, self.changes(old, inputs, view), version)
        outputs = self.outputs(view, inputs, old.outputs)
        try:
            if not response and self.needs_token(old, inputs, view, target):
                view, operation, response = self.rotated(view, inputs, old.outputs)
                outputs = self.outputs(view, inputs, {**old.outputs, "issued_at": _now()})
            if response:
                outputs = self.written(target, view, operation, response, outputs)
            outputs |= {"written_id": view["id"], "pending": ""}
        except (ProviderError, ApiError) as exc:
            error = exc if isinstance(exc, ProviderError) else explained(exc, self.renamed)
            if response:
                outputs["pending"] = self.pending(operation)
            raise PartialError(str(error), old.id, outputs) from None
        before = old.inputs.get("destination")
        if before and before != inputs["destination"]:
            destination(before).clear(str(view.get("start", "")))
        return outputs

    # Tokens

    def needs_token(self, old: State, inputs: Fields, view: Fields, target: Destination) -> bool:
        """True if only a rotation gives the destination the token that it should have."""
        if is_due(old.outputs, inputs):
            return True
        moved = old.inputs.get("destination") != inputs["destination"]
        if not moved and old.outputs.get("written_id") == view["id"]:
            return False
        return not target.contains(str(view.get("start", "")))

    def rotated(self, view: Fields, inputs: Fields, outputs: Fields) -> tuple[Fields, str, Fields]:
        """The object with a new token, the operation and its response."""
        path, operation = self.rotation(view["id"], outputs)
        body = {self.grace: inputs.get("grace_s", GRACE_S)}
        response = self.console.replay(path, operation) or self.console.post(path, body, operation)
        if "lost" in response:
            view = self.find(self.id_of(view)) or view
            path, operation = self.rotation(view["id"], outputs)
            response = self.console.post(path, body, f"{operation} again")
        return self.view_in(response), operation, response

    def rotation(self, id: str, outputs: Fields) -> tuple[str, str]:
        """The path and the name of the rotation of one token, which happens once."""
        return f"{self.item_path(id)}/{self.rotate}", f"rotate {id}"

    def unfinished(self, old: State, view: Fields, inputs: Fields) -> tuple[str, Fields]:
        """The operation whose token an earlier `pulumi up` has not written, and its response, which
        is empty if there is none.
        """
        key_id = old.outputs.get("key_id", old.id)
        if pending := old.outputs.get("pending"):
            path, _, operation = str(pending).partition(" ")
        elif view["id"] != key_id or is_due(old.outputs, inputs):
            path, operation = self.rotation(key_id, old.outputs)
        else:
            return "", {}
        response = self.console.replay(path, operation) or {}
        return operation, response if self.token in response else {}

    def pending(self, operation: str) -> str:
        path = self.path
        if operation.startswith("rotate "):
            id = operation.split()[1]
            path = f"{self.item_path(id)}/{self.rotate}"
        return f"{path} {operation}"

    def written(
        self, target: Destination, view: Fields, operation: str, response: Fields, outputs: Fields
    ) -> Fields:
        version = target.write(str(response[self.token]), f"{operation} {view['id']}")
        written = {"destination_version": version, "written_id": view["id"]}
        return {**outputs, **written, "pending": ""}

    def outputs(self, view: Fields, inputs: Fields, old: Fields | None = None) -> Fields:
        """old: outputs of which those in `kept` are kept."""
        kept = {name: (old or {}).get(name, "") for name in self.kept}
        return {**super().outputs(view, inputs), **kept}

    def state(self, view: Fields, inputs: Fields, outputs: Fields) -> State:
        found = super().state(view, inputs, outputs)
        return State(found.id, found.inputs, self.outputs(view, found.inputs, outputs))

    def end(self, id: str) -> None:
        """Ends the object and its tokens. Idempotent."""
        self.console.delete(self.item_path(id))

    def delete(self, state: State, *, replaced: bool) -> None:
        self.end(state.id)


def _now() -> str:
    return datetime.now(UTC).isoformat()


def is_due(outputs: Fields, inputs: Fields) -> bool:
    """True if the token is older than `rotate_after_s`."""
    after_s, issued_at = inputs.get("rotate_after_s"), outputs.get("issued_at")
    if not isinstance(after_s, int) or not issued_at:
        return False
    return datetime.fromisoformat(issued_at).timestamp() + after_s <= time.time()


class Keys(Issued):
    noun, path, token, rotate, grace = "key", "/v1/keys", "token", "rotate", "grace_s"
    computed = ("state",)

    def body(self, inputs: Fields) -> Fields:
        once: Fields = {name: inputs[name] for name in ("environment", "ttl_s") if name in inputs}
        return {**self.fields(inputs, inputs.keys()), **once}

    def find(self, id: str) -> Fields | None:
        """The newest key of the family of a key, or of the only active key with a name. None if it
        has ended. Raises ProviderError if several keys have the name.
        """
        key = self.console.get(self.item_path(id)) if len(id) == 12 and id.isalnum() else None
        if key is None:
            named = [
                other
                for other in self.console.all(self.path, "keys", search=id[:100], state="active")
                if other["name"] == id and other["successor_id"] is None
            ]
            if len(named) > 1:
                ids = ", ".join(other["id"] for other in named)
                raise ProviderError(f"Several keys have the name {id}: {ids}. Use an ID.")
            key = named[0] if named else None
        if key is None or key["state"] == "purged":
            return None
        newest = max(self._family(key["family_id"]), key=lambda other: other["generation"])
        ends_at = newest["expires_at"]
        ended = ends_at and datetime.fromisoformat(ends_at).timestamp() <= time.time()
        return None if newest["state"] not in _USABLE or ended else newest

    def _family(self, id: str) -> list[Fields]:
        return self.console.all(self.path, "keys", family_id=id, limit=100) or [
            {"generation": 0, "state": "purged", "expires_at": None}
        ]

    def id_of(self, view: Fields) -> str:
        return str(view["family_id"])

    def target(self, view: Fields) -> str:
        return str(view["id"])

    def identity(self, view: Fields) -> Fields:
        return {"environment": view["environment"]}

    def outputs(self, view: Fields, inputs: Fields, old: Fields | None = None) -> Fields:
        own = {"key_id": view["id"], "issued_at": view["created_at"]}
        if view["expires_at"]:  # also that of the plan
            own["expires_at"] = inputs.get("expires_at", view["expires_at"])
        return {**super().outputs(view, inputs, old), **own}

    def changes(self, old: State, inputs: Fields, view: Fields) -> Fields:
        names = changed(old.inputs, inputs)
        fields = self.fields(inputs, names)
        if "ttl_s" in names and "expires_at" not in inputs:
            ttl_s = inputs.get("ttl_s")
            issued_at = datetime.fromisoformat(view["created_at"])
            ends_at = issued_at + timedelta(seconds=ttl_s) if ttl_s else None
            fields["expires_at"] = ends_at.isoformat() if ends_at else None
        elif fields.get("expires_at", "") is None and "ttl_s" in inputs:
            del fields["expires_at"]
        if isinstance(fields.get("credits"), dict) and view["credits"] is not None:
            before = old.inputs.get("credits", {})
            if before.get("remaining") == fields["credits"]["remaining"]:
                # Requests have consumed credits since then.
                fields["credits"] = {"refill": fields["credits"].get("refill")}
        return fields

    def state(self, view: Fields, inputs: Fields, outputs: Fields) -> State:
        if outputs and view["id"] != outputs.get("key_id"):
            outputs = {**outputs, "expires_at": view["expires_at"]}  # a rotation extends it
        found = super().state(view, inputs, outputs)
        if comparable("expires_at", found.inputs.get("expires_at")) != comparable(
            "expires_at", inputs.get("expires_at")
        ):
            found.inputs.pop("ttl_s", None)  # somebody changed the expiry
        return found

    def end(self, id: str) -> None:
        for key in self._family(id):
            if key["state"] not in _USABLE:
                continue
            path = self.item_path(key["id"])
            # A revoked key that follows a plan would prevent the deletion of the plan.
            if key["plan"]:
                self.patched(key, {"plan": None}, key["version"])
            self.console.act(f"{path}/revoke", REASON)

    def delete(self, state: State, *, replaced: bool) -> None:
        """Revokes a key. replaced: the key works until the grace period ends."""
        view = self.find(state.id)
        if view is None:
            return
        if replaced:
            ends_at = datetime.now(UTC) + timedelta(seconds=state.outputs.get("grace_s", GRACE_S))
            before = view["expires_at"]
            if before is None or datetime.fromisoformat(before) > ends_at:
                self.patched(view, {"expires_at": ends_at.isoformat()}, view["version"])
            return
        self.end(state.id)
        destination(state.outputs["destination"]).clear(view["start"])


class RoleKeys(Keys):
    renamed = {"scopes": "role"}  # noqa: RUF012  a constant

    def fields(self, inputs: Fields, names: Iterable[str]) -> Fields:
        fields = super().fields(inputs, names)
        if "role" in names:
            fields["scopes"] = [_scope(inputs["role"])]
        return fields

    def values(self, view: Fields) -> Fields:
        roles = ",".join(scope.removeprefix("role:") for scope in view["scopes"])
        return {**super().values(view), "role": roles}

    def default(self, name: str, view: Fields) -> Any:
        return "" if name == "role" else super().default(name, view)

    def api_values(self, view: Fields) -> Fields:
        return view


def _scope(role: str) -> str:
    return role if ":" in role else f"role:{role}"


class Cores(Keys):
    renamed = {"cores": "name"}  # noqa: RUF012  a constant

    def body(self, inputs: Fields) -> Fields:
        name = str(inputs["name"])
        own = {"name": f"Core {name}", "scopes": ["cores:register"], "cores": [name]}
        return {**super().body(inputs), **own}

    def identity(self, view: Fields) -> Fields:
        return {**super().identity(view), "name": "".join(view["cores"][:1])}

    def find(self, id: str) -> Fields | None:
        """Also by the name of the Core."""
        return super().find(id) or super().find(f"Core {id}")

    def delete(self, state: State, *, replaced: bool) -> None:
        super().delete(state, replaced=replaced)
        if not replaced:
            self.console.delete(f"/v1/cores/{state.outputs['name']}")


class Webhooks(Issued):
    noun, path, key, token = "webhook", "/v1/webhooks", ("id", "id"), "secret"
    rotate, grace = "rotate-secret", "overlap_s"
    kept = (*Issued.kept, "issued_at")

    def body(self, inputs: Fields) -> Fields:
        return self.fields(inputs, inputs.keys())

    def find(self, id: str) -> Fields | None:
        """The webhook with an ID, or the only one for an origin such as
        https://hooks.example.com.
        """
        found = [
            webhook
            for webhook in self.console.all(self.path, "webhooks")
            if id in (webhook["id"], webhook["url"])
        ]
        return found[0] if len(found) == 1 else None

    def identity(self, view: Fields) -> Fields:
        return {}

    def rotation(self, id: str, outputs: Fields) -> tuple[str, str]:
        path, operation = super().rotation(id, outputs)
        return path, f"{operation} {outputs.get('issued_at', '')}"

    def outputs(self, view: Fields, inputs: Fields, old: Fields | None = None) -> Fields:
        issued_at = (old or {}).get("issued_at") or view["created_at"]
        return super().outputs(view, inputs, {**(old or {}), "issued_at": issued_at})

    def state(self, view: Fields, inputs: Fields, outputs: Fields) -> State:
        return super().state(_with_path(view, inputs), inputs, outputs)

    def reconciled(self, view: Fields, inputs: Fields) -> Fields:
        return super().reconciled(_with_path(view, inputs), inputs)


def _with_path(view: Fields, inputs: Fields) -> Fields:
    """The webhook with the URL of the inputs, of which the console shows only the origin."""
    url = str(inputs.get("url", ""))
    return {**view, "url": url} if url.startswith((f"{view['url']}/", f"{view['url']}?")) else view
