"""Keys, customers and Cores of Gatehouse as Pulumi resources."""

from gatehouse_pulumi.resources import (
    Core,
    CreditsArgs,
    Customer,
    DestinationArgs,
    Key,
    Limit,
    Plan,
    RateLimitArgs,
    RefillArgs,
    RoleKey,
    Webhook,
)

__all__ = [
    "Core",
    "CreditsArgs",
    "Customer",
    "DestinationArgs",
    "Key",
    "Limit",
    "Plan",
    "RateLimitArgs",
    "RefillArgs",
    "RoleKey",
    "Webhook",
]
