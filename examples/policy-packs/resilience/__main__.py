"""Resilience pack: availability, recovery, cost, tags and observability."""

from pathlib import Path

from gatehouse_policies.packs import start

start("resilience", Path(__file__).with_name("policies.toml"))
