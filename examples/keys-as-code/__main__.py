"""A plan, its customers with a key each, and the key with which a Core registers."""

import gatehouse_pulumi as gatehouse
import pulumi

CONFIG = pulumi.Config()
SECRETS = CONFIG.require("destination") == "secret"
TTL_S, ROTATE_AFTER_S, GRACE_S = 90 * 86_400, 60 * 86_400, 7 * 86_400


def destination(name: str) -> gatehouse.DestinationArgs:
    """A secret that exists, or a file in the working directory."""
    if SECRETS:
        return {"secret": f"gatehouse/tokens/{name}"}
    return {"file": f"{name}.token"}


starter = gatehouse.Plan(
    "starter",
    name=CONFIG.require("plan"),
    description="Trials and small shops.",
    scopes=["cores:read", "orders:read"],
    limits=[{"name": "requests", "quota": 600, "window_s": 60}],
    shared_limits=[{"name": "requests", "quota": 1000, "window_s": 60}],
    credits={"amount": 50_000, "every": "month"},
)

for customer_id, name in CONFIG.require_object("customers").items():
    customer = gatehouse.Customer(
        customer_id, customer_id=customer_id, name=name, plan=starter.name
    )
    key = gatehouse.Key(
        customer_id,
        name=f"orders of {name}",
        customer_id=customer.customer_id,
        ttl_s=TTL_S,
        rotate_after_s=ROTATE_AFTER_S,
        grace_s=GRACE_S,
        destination=destination(customer_id),
    )
    pulumi.export(customer_id, key.key_id)

core = CONFIG.require("core")
gatehouse.Core(core, name=core, ttl_s=TTL_S, destination=destination(core))
