"""The state of a stack. It decides what the engine runs with the credentials of the next command,
so a state with parts that the program does not create is rejected.
"""

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gatehouse_policies.analysis.properties import UNKNOWN, leaves

from release.errors import last_line, printable, step
from release.pulumi_cli import query
from release.stack_file import Stack

_PARTS = {"manifest", "metadata", "pending_operations", "resources", "secrets_providers"}
"""The engine evaluates other parts, such as snippets."""
_PROVIDER_INPUTS = {
    *("allowedAccountIds", "defaultTags", "region"),
    *("skipCredentialsValidation", "skipRegionValidation", "version", "__internal"),
}
"""With others, such as `endpoints`, even a preview can send local files elsewhere."""


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

    def print_changes(self, operations: Mapping[str, Iterable[str]]) -> None:
        """Print the IDs of what operations change, which previews do not show."""
        for row in self.resources:
            changes = {"delete"} if row.get("delete") else {*operations.get(row["urn"], ())}
            if row.get("id") and (changes := changes - {"same", "read", "create"}):
                step(f"{', '.join(sorted(changes))}: {row['urn']} ({row['id']})")

    def unfinished(self, options: str) -> str:
        """A message if the result of operations is unknown: the CLI would create a resource again.
        options: of the CLI, to select the stack.
        """
        rows = self.deployment.get("pending_operations") or []
        # Unlike a URN, the pattern of a target need not be in the state.
        urns = [row["resource"]["urn"] for row in rows]
        targets = "".join(f" --target {shlex.quote(f'**{urn}')}" for urn in urns)
        return targets and (
            "another update is running, or was stopped. If none runs, run: pulumi cancel "
            f"{options}; pulumi refresh {options}{targets}. Refresh changes the state"
        )


def read_state(stack: Stack) -> State:
    """Raises ValueError, also for a state that the program does not create."""
    result = query(stack, "stack", "export", "--stack", stack.name)
    if result.returncode != 0:
        raise ValueError(f"cannot read the state of {stack.name}: {last_line(result.stderr)}")
    try:
        state = json.loads(result.stdout)["deployment"]
        change = next(_changes_of_others(stack, state), None)
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError):
        change = "is malformed"
    if change:
        raise ValueError(
            f"the state of the stack {stack.name} {change}. Find out who changed the state, and "
            "restore an earlier version"
        )
    return State(state)


def _changes_of_others(stack: Stack, state: dict[str, Any]) -> Iterator[str]:
    secrets = state.get("secrets_providers") or {}
    kind, key = secrets.get("type"), {"url": stack.secrets_provider, "encryptedkey": ""}
    # The URL can name a server, which receives requests or a token. The CLI ignores case.
    if (kind == "service" and stack.secrets_provider) or (
        kind == "cloud" and secrets["state"] | {"encryptedkey": ""} != key
    ):
        yield f"names another key for secrets than {stack.file}"
    if parts := state.keys() - _PARTS:
        yield f"has parts that the program does not have: {', '.join(sorted(parts))[:200]}"
    # The engine splits URNs the same way (sdk/go/common/resource/urn).
    start = re.escape(f"urn:pulumi:{stack.name}::{stack.project.name}::")
    form = re.compile(rf"{start}(?:[^:$]+(?::[^:$]+)*\$)*([^:$]+:[^:$]+:[^:$]+)::.*", re.DOTALL)
    providers: dict[str, str] = {}
    pending = [each["resource"] for each in state.get("pending_operations") or ()]
    for row in (*(state.get("resources") or ()), *pending):
        urn = printable(row["urn"])[:200]
        if not (match := form.fullmatch(row["urn"])):
            yield f"has a resource of another stack: {urn}"
            return
        package, module, name = match[1].split(":")
        if (package, module) == ("pulumi", "providers"):
            if name != "aws" or not _are_of_program(row.get("inputs") or {}):
                yield f"configures the plugin {name} otherwise than the program"
            providers[f"{row['urn']}::{row.get('id')}"] = name
        # The engine would run the plugin of the type, or read another stack.
        elif row.get("custom") and providers.get(row.get("provider", "")) != package:
            yield f"has a resource without a provider: {urn}"
        if row["type"] != match[1]:
            yield "is malformed"


def _are_of_program(inputs: dict[str, Any]) -> bool:
    """Whether the program can set these inputs of a provider (pkg/resource/deploy/providers)."""
    # The name of a region is part of the names of servers.
    is_region = re.fullmatch(r"[a-z]+(-[a-z]+)+-\d", inputs.get("region", "us-east-1"))
    return inputs.keys() <= _PROVIDER_INPUTS and not inputs.get("__internal") and bool(is_region)
