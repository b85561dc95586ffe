"""The sandbox's vocabulary: what a program asks for, what exists afterwards, and the cloud in between."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

UNKNOWN: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""Pulumi's wire form of a value that a preview cannot know yet (`pulumi.runtime.rpc.UNKNOWN`)."""


@dataclass(frozen=True, slots=True)
class Registration:
    """What the program asked for: one resource, as Pulumi's engine would have received it.

    inputs: plain JSON values in Pulumi's camelCase; `UNKNOWN` where a value is not known; assets and archives stay
        `pulumi.Asset`/`pulumi.Archive` objects. Secrets are unwrapped, their property paths are in `secret_inputs`.
    parent: URN of the parent, "" for a resource directly under the stack.
    provider: `<provider urn>::<provider id>`, "" where the default provider would be used.
    source: the nearest line of the program that declared it, such as "components/bucket.py:88"; "" if it is not known.
    external: read, not made: somebody else's resource, which the program only looks at.
    custom_timeouts: "create", "update", "delete" to a duration such as "30m".
    """

    urn: str
    type: str
    name: str
    custom: bool
    parent: str
    inputs: dict[str, Any]
    protect: bool = False
    provider: str = ""
    providers: Mapping[str, str] = field(default_factory=dict)
    dependencies: tuple[str, ...] = ()
    property_dependencies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    secret_inputs: tuple[str, ...] = ()
    additional_secret_outputs: tuple[str, ...] = ()
    ignore_changes: tuple[str, ...] = ()
    replace_on_changes: tuple[str, ...] = ()
    retain_on_delete: bool = False
    delete_before_replace: bool = False
    aliases: tuple[str, ...] = ()
    custom_timeouts: Mapping[str, str] = field(default_factory=dict)
    import_id: str = ""
    external: bool = False
    source: str = ""


@dataclass(frozen=True, slots=True)
class Resource:
    """What exists after creation: `outputs` are camelCase, `UNKNOWN` where a first preview cannot know them."""

    registration: Registration
    id: str
    outputs: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Deployment:
    """The result of one run of a program for one stack: resources in the order of creation, and the stack's exports."""

    project: str
    stack: str
    resources: tuple[Resource, ...]
    exports: dict[str, Any]
    preview: bool

    @property
    def stack_urn(self) -> str:
        """URN of the root resource, the parent of everything whose `parent` is empty."""
        return f"urn:pulumi:{self.stack}::{self.project}::pulumi:pulumi:Stack::{self.project}-{self.stack}"


class Cloud(Protocol):
    """Where resources come from. Both methods may be called from several threads and raise `SandboxError`."""

    def create(self, registration: Registration) -> tuple[str, dict[str, Any]]:
        """Make the resource; return its id and its outputs (camelCase)."""
        ...

    def invoke(self, token: str, args: dict[str, Any]) -> dict[str, Any]:
        """Answer a provider function such as `aws:index/getCallerIdentity:getCallerIdentity`."""
        ...
