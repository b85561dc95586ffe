"""The resources of a test program. Uses the standard library only, because the build of the
distribution imports it (tests/policies/rules/control_examples.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

ACCOUNT = "123456789012"


@dataclass(frozen=True)
class Ref:
    to: str
    output: str = "id"


class Unknown:
    def __repr__(self) -> str:
        return "Unknown()"


@dataclass(frozen=True)
class Declared:
    """A resource of a program.

    inputs: may contain Ref and Unknown.
    computed: outputs that the program does not set.
    depends_on: names of the resources in the option `dependsOn`.
    """

    type: str
    name: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    protect: bool = False
    computed: Mapping[str, Any] = field(default_factory=dict)
    depends_on: tuple[str, ...] = ()

    def with_inputs(self, **changes: Any) -> "Declared":
        inputs = {
            key: value for key, value in {**self.inputs, **changes}.items() if value is not None
        }
        return replace(self, inputs=inputs)
