"""Started by the Pulumi engine. PolicyPack() does not return."""

from pulumi_policy import PolicyPack

from policies.catalogue import PACKS, RULES, of_pack
from policies.engine.pack import guarded

PolicyPack(PACKS["security"], policies=guarded(of_pack("security"), RULES))
