"""The state of a stack."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pulumi_local.lists import leaves
from pulumi_local.types import UNKNOWN

from release.errors import last_line
from release.pulumi.cli import query
from release.pulumi.stack import Stack


@dataclass(frozen=True, slots=True)
class State:
    """The state that `pulumi stack export` prints (sdk/go/common/apitype/core.go, DeploymentV3)."""

    deployment: Mapping[str, Any]

    @property
    def resources(self) -> list[dict[str, Any]]:
        return self.deployment.get("resources") or []

    def output(self, name: str, default: Any = None) -> Any:
        """Raises ValueError if an output is not deployed and has no default."""
        stacks = (row for row in self.resources if row["type"] == "pulumi:pulumi:Stack")
        value = next(stacks, {}).get("outputs", {}).get(name)
        # null stands for an output of an excluded resource.
        if all(leaf is not None and leaf != UNKNOWN for _, leaf in leaves(value, name)):
            return value
        if default is None:
            raise ValueError(f"the stack has no output {name!r}: it is not deployed (make deploy)")
        return default

    def unfinished(self, stack: Stack) -> str:
        """A message if operations have unknown results: the CLI would create a resource again."""
        rows = self.deployment.get("pending_operations") or []
        # Unlike a URN, the pattern of a target need not be in the state.
        urns = [row["resource"]["urn"] for row in rows]
        targets = "".join(f" --target {shlex.quote(f'**{urn}')}" for urn in urns)
        return targets and (
            "another update is running, or was stopped. If none runs, run: pulumi cancel "
            f"{stack.options}; pulumi refresh {stack.options}{targets}. Refresh changes the state"
        )


def read_state(stack: Stack) -> State:
    """Raises ValueError if the CLI cannot read it."""
    result = query(stack, "stack", "export", "--stack", stack.name)
    if result.returncode != 0:
        raise ValueError(f"cannot read the state of {stack.name}: {last_line(result.stderr)}")
    return State(json.loads(result.stdout)["deployment"])
