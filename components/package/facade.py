"""A component of the package: its inputs are derived from the arguments of the component that it creates."""

import dataclasses
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi

from components.component import Component
from components.package.inputs import PackageError, descriptions, fields_of, typed_dict, value_of, values_of
from components.settings.fields import ENVIRONMENTS, PROD

PACKAGE = "gatehouse"
ENVIRONMENT = "environment"
_ENVIRONMENT_TEXT = f"Environment whose defaults apply to settings that are not set: {', '.join(ENVIRONMENTS)}. Default: {PROD}."
Values = Mapping[str, Any]
Computed = Callable[[Values], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facade:
    """A component of the package.

    name: Name in the package.
    component: The component that is created.
    args: Its arguments, a dataclass. The fields are the inputs, except those in `computed`.
    outputs: Type of each output. Each output is an attribute of the component.
    extra: Type and description of inputs that are not arguments. They are optional if the type accepts None.
    computed: Arguments that are computed from the inputs.
    also: Creates further components, given the component and the inputs.
    """

    name: str
    component: type[Component]
    args: type
    outputs: Mapping[str, Any]
    extra: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    computed: Mapping[str, Computed] = field(default_factory=dict)
    also: Callable[[Any, Values, pulumi.ResourceOptions], None] | None = None

    def input_types(self) -> dict[str, tuple[Any, bool]]:
        """The type of each input, and whether the input is required."""
        own = {name: row for name, row in fields_of(self.args).items() if name not in self.computed}
        extra = {name: (kind, not _accepts_none(kind)) for name, (kind, _) in self.extra.items()}
        return own | extra | {ENVIRONMENT: (str, False)}

    def descriptions(self) -> dict[str, str]:
        """The description of each input."""
        texts = descriptions(self.args) | {name: text for name, (_, text) in self.extra.items()}
        return {name: texts.get(name, "") for name in self.input_types()} | {ENVIRONMENT: _ENVIRONMENT_TEXT}

    def arguments(self, values: Values) -> Any:
        """The arguments of the component. values: result of `values`."""
        names = {row.name for row in dataclasses.fields(self.args)}
        arguments = {name: value for name, value in values.items() if name in names}
        return self.args(**arguments | {name: compute(values) for name, compute in self.computed.items()})

    def values(self, inputs: Values) -> dict[str, Any]:
        """The value of each input, with the defaults of sections. Raises PackageError for invalid inputs."""
        environment = inputs.get(ENVIRONMENT, PROD)
        if environment not in ENVIRONMENTS:
            raise PackageError(f"{ENVIRONMENT} is {environment!r}; allowed: {', '.join(ENVIRONMENTS)}")
        own = {name: value for name, value in inputs.items() if name not in self.computed}
        values = values_of(self.args, own, environment=environment)
        for name, (kind, _) in self.extra.items():
            values[name] = value_of(kind, inputs[name], name, environment) if inputs.get(name) is not None else None
        return values


def component_class(facade: Facade) -> type[pulumi.ComponentResource]:
    """Return the component resource of the package."""
    inputs = typed_dict(f"{facade.name}Args", facade.input_types())

    def create(self: Any, name: str, args: Values, opts: pulumi.ResourceOptions | None = None) -> None:
        pulumi.ComponentResource.__init__(self, f"{PACKAGE}:index:{facade.name}", name, dict(args), opts)
        child = pulumi.ResourceOptions(parent=self)
        create_component: Callable[..., Component] = facade.component
        values = facade.values(args)
        component = create_component(name, facade.arguments(values), child)
        if facade.also is not None:
            facade.also(component, values, child)
        outputs = {output: pulumi.Output.from_input(getattr(component, output)) for output in facade.outputs}
        for output, value in outputs.items():
            setattr(self, output, value)
        self.register_outputs(outputs)

    create.__annotations__ = {"args": inputs}
    output_type: Any = pulumi.Output
    annotations = {output: output_type[kind] for output, kind in facade.outputs.items()}
    body = {"__init__": create, "__doc__": facade.component.__doc__, "__module__": __name__, "__annotations__": annotations}
    return type(facade.name, (pulumi.ComponentResource,), body)


def _accepts_none(kind: Any) -> bool:
    return type(None) in typing.get_args(kind)
