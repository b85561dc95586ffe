"""Security pack: confidentiality, integrity and access control."""

from gatehouse_policies.packs import start

start("security")
