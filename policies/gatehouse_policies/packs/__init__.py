"""The packs security and resilience: the Pulumi engine starts them with `policies/<name>/`, a check
with the folders here.
"""

from pathlib import Path

from pulumi_policy import Policy, PolicyPack

from gatehouse_policies.catalogue import PACKS, RULES, of_pack
from gatehouse_policies.configuration import Configuration, read
from gatehouse_policies.engine import environment
from gatehouse_policies.engine.pack import guarded


def policies(name: str, configuration: Configuration) -> list[Policy]:
    own = configuration.environment(*environment.stack_of_process(), environment.of_process())
    rules = [configuration.applied(rule, own) for rule in of_pack(name)]
    return guarded(rules, RULES if name == "security" else (), configuration.exemptions, own)


def start(name: str, configuration: Path | None = None) -> None:
    """Starts the pack with a configuration file. The engine does not return from it."""
    PolicyPack(PACKS[name], policies=policies(name, read(configuration)))
