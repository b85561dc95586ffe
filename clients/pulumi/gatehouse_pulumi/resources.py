"""Resources for Pulumi programs."""

from collections.abc import Mapping
from typing import Any, Unpack

from pulumi import CustomResource, Output, ResourceOptions

from gatehouse_pulumi.arguments import (
    CoreArgs,
    CustomerArgs,
    KeyArgs,
    LimitArgs,
    PlanArgs,
    RoleKeyArgs,
    WebhookArgs,
)
from gatehouse_pulumi.objects import DATA


class _Resource(CustomResource):
    version: Output[int]
    """Version of the object, which every change increments."""

    deployment: Output[str]
    """Environment of the deployment, such as `prod`."""

    def __init__(
        self, resource_name: str, options: ResourceOptions | None, arguments: Mapping[str, Any]
    ) -> None:
        token = f"gatehouse:index:{type(self).__name__}"
        schema = DATA["schema"]["resources"][token]
        # The engine returns outputs only for the properties that a resource has.
        properties = {**dict.fromkeys(schema["properties"]), **arguments}
        for name, value in schema["inputProperties"].items():
            if value.get("secret") and name in arguments:
                properties[name] = Output.secret(arguments[name])
        super().__init__(token, resource_name, properties, options)


class _Issued(_Resource):
    issued_at: Output[str]
    """Time at which the token was created."""

    destination_version: Output[str]
    """Version of the secret or the parameter that contains the token."""

    key_id: Output[str]
    """ID of the key. A rotation changes it; the `id` of the resource stays the same."""


class Plan(_Resource):
    """A plan: limits, credits, scopes and lifetime that customers and keys follow. Import: by
    name.
    """

    name: Output[str]

    def __init__(
        self, resource_name: str, opts: ResourceOptions | None = None, **arguments: Unpack[PlanArgs]
    ) -> None:
        super().__init__(resource_name, opts, arguments)


class Customer(_Resource):
    """A customer, to which keys belong. Deletion ends its keys, and the customer can be restored
    until it is purged. Import: by `customer_id`.
    """

    customer_id: Output[str]
    state: Output[str]
    """`active` or `disabled`."""

    def __init__(
        self,
        resource_name: str,
        opts: ResourceOptions | None = None,
        **arguments: Unpack[CustomerArgs],
    ) -> None:
        super().__init__(resource_name, opts, arguments)


class Limit(_Resource):
    """A rate limit for subjects that callers name. Import: by name."""

    name: Output[str]

    def __init__(
        self,
        resource_name: str,
        opts: ResourceOptions | None = None,
        **arguments: Unpack[LimitArgs],
    ) -> None:
        super().__init__(resource_name, opts, arguments)


class Key(_Issued):
    """An API key. Its token is written to the destination and appears nowhere else. Deletion
    revokes the key; `ResourceOptions(retain_on_delete=True)` keeps it. Import: by ID, or by the
    name of the only active key with this name.
    """

    state: Output[str]
    """`active` or `disabled`."""

    def __init__(
        self, resource_name: str, opts: ResourceOptions | None = None, **arguments: Unpack[KeyArgs]
    ) -> None:
        super().__init__(resource_name, opts, arguments)


class RoleKey(_Issued):
    """A key for the console, with one role. Deletion and import: as `Key`."""

    state: Output[str]
    """`active` or `disabled`."""

    def __init__(
        self,
        resource_name: str,
        opts: ResourceOptions | None = None,
        **arguments: Unpack[RoleKeyArgs],
    ) -> None:
        super().__init__(resource_name, opts, arguments)


class Core(_Issued):
    """The key with which an agent or a service registers one Core, and no other. The Core appears
    when it registers. Deletion revokes the key and drains the instances of the Core. Import: by the
    ID of the key, or by the name of the Core.
    """

    name: Output[str]
    state: Output[str]
    """`active` or `disabled`: of the key."""

    def __init__(
        self, resource_name: str, opts: ResourceOptions | None = None, **arguments: Unpack[CoreArgs]
    ) -> None:
        super().__init__(resource_name, opts, arguments)


class Webhook(_Resource):
    """A webhook. The secret of its signatures is written to the destination. Import: by ID, or by
    the origin of the URL.
    """

    issued_at: Output[str]
    """Time at which the secret was created."""

    destination_version: Output[str]
    """Version of the secret or the parameter that contains the secret."""

    def __init__(
        self,
        resource_name: str,
        opts: ResourceOptions | None = None,
        **arguments: Unpack[WebhookArgs],
    ) -> None:
        super().__init__(resource_name, opts, arguments)
