"""Resilience pack: availability, recovery, cost, tags and observability."""

from gatehouse_policies.packs import start

start("resilience")
