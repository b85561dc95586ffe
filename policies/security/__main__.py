"""The security pack: what keeps data and access safe. Started by the engine, never imported: PolicyPack() does not
return.
"""

from pulumi_policy import PolicyPack

from policies.catalogue import PACKS
from policies.engine.pack import policies

PolicyPack(PACKS["security"], policies=policies("security"))
