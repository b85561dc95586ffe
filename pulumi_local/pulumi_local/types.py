"""Registrations, resources and deployments, and the `Provider` that creates resources."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

UNKNOWN: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""Pulumi's marker of a text, or of any value of a program, that is unknown until the deployment."""
ELSEWHERE: Final = "dd056dcd-154b-4c76-9bd3-c8f88648b5ff"
"""The marker of a part of a value that is unknown and not an output of a resource of the program,
such as the result of a lookup. It is that of objects."""
ACCOUNT: Final = "123456789012"
"""The AWS account of the emulator, and of a check if the provider does not set
allowedAccountIds.
"""


@dataclass(frozen=True)
class Registration:
    """A resource registration as the Pulumi engine receives it.

    inputs: JSON values with camelCase names; `UNKNOWN` for unknown values; assets and archives are
        `pulumi.Asset` and `pulumi.Archive`. Secrets are unwrapped; `secret_inputs` lists their
        property paths.
    parent: URN of the parent; "" for a resource directly below the stack.
    provider: `<provider URN>::<provider ID>`; "" for the default provider.
    source: the line of the program that declares the resource, such as "components/bucket.py:88";
        "" if unknown.
    external: the program reads an existing resource with `get` and does not manage it.
    remote: a component whose resources are created by a plugin, such as `awsx:ec2:Vpc`. They are
        not part of the deployment.
    delete_before_replace: None if the program does not set the option, so that the provider
        determines the order.
    custom_timeouts: durations such as "30m" for "create", "update" and "delete".
    """

    urn: str
    type: str
    name: str
    custom: bool
    parent: str
    inputs: dict[str, Any]
    protect: bool = False
    provider: str = ""
    dependencies: tuple[str, ...] = ()
    property_dependencies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    secret_inputs: tuple[str, ...] = ()
    additional_secret_outputs: tuple[str, ...] = ()
    ignore_changes: tuple[str, ...] = ()
    retain_on_delete: bool = False
    deleted_with: str = ""
    delete_before_replace: bool | None = None
    aliases: tuple[str, ...] = ()
    custom_timeouts: Mapping[str, str] = field(default_factory=dict)
    import_id: str = ""
    external: bool = False
    remote: bool = False
    source: str = ""

    @property
    def secret_input_names(self) -> set[str]:
        return {path.split(".")[0].split("[")[0] for path in self.secret_inputs}

    @property
    def secret_output_names(self) -> set[str]:
        """The secret outputs: outputs of secret inputs, and outputs that the program marks as
        secret.
        """
        return self.secret_input_names | set(self.additional_secret_outputs)


@dataclass(frozen=True)
class Resource:
    """A created resource. `outputs` have camelCase names and are `UNKNOWN` if their values are
    unknown in a first preview.
    """

    registration: Registration
    id: str
    outputs: dict[str, Any]


@dataclass(frozen=True)
class Deployment:
    """The result of one run of a program: the resources in order of creation, and the exports of
    the stack.

    environment_calls: where the program asks which environment runs it.
    decisions: where the program decides by the result of a lookup.
    """

    project: str
    stack: str
    resources: tuple[Resource, ...]
    exports: dict[str, Any]
    preview: bool
    environment_calls: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()

    @property
    def stack_urn(self) -> str:
        """URN of the stack resource, the parent of every resource whose `parent` is empty."""
        prefix = f"urn:pulumi:{self.stack}::{self.project}::pulumi:pulumi:Stack"
        return f"{prefix}::{self.project}-{self.stack}"


class Provider(Protocol):
    """Creates resources and returns the results of provider functions. Methods must be thread-safe
    and may raise `CommandError`."""

    def create(self, registration: Registration) -> tuple[str, dict[str, Any]]:
        """Create the resource. Returns its ID and its outputs with camelCase names."""
        ...

    def invoke(
        self, token: str, args: dict[str, Any], provider: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """Return the result of a function such as `aws:index/getCallerIdentity:getCallerIdentity`;
        None if it is unknown.

        provider: the inputs of the provider that the function uses, such as its `region`.
        """
        ...
