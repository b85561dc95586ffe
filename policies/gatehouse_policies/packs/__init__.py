"""The packs security and resilience: the Pulumi engine starts them with `policies/<name>/`, a check
with the folders here.
"""

from pulumi_policy import Policy, PolicyPack

from gatehouse_policies.catalogue import PACKS, RULES, of_pack
from gatehouse_policies.engine.pack import guarded


def policies(name: str) -> list[Policy]:
    return guarded(of_pack(name), RULES if name == "security" else ())


def start(name: str) -> None:
    PolicyPack(PACKS[name], policies=policies(name))
