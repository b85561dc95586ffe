"""Started by the Pulumi engine. PolicyPack() does not return."""

from pulumi_policy import PolicyPack

from policies.catalogue import PACKS, of_pack
from policies.engine.pack import guarded

PolicyPack(PACKS["resilience"], policies=guarded(of_pack("resilience")))
