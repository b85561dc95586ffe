"""Security pack: confidentiality, integrity and access control."""

from pathlib import Path

from gatehouse_policies.packs import start

start("security", Path(__file__).with_name("policies.toml"))
