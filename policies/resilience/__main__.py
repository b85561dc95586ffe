"""The resilience pack: availability, recovery, cost, tags, observability. Started by the engine, never imported."""

from pulumi_policy import PolicyPack

from policies.catalogue import PACKS
from policies.engine.pack import policies

PolicyPack(PACKS["resilience"], policies=policies("resilience"))
