"""A plan, its customers with a key each, and the key with which a Core registers."""

import gatehouse_pulumi as gatehouse
import pulumi

SECRETS = pulumi.Config().require("destination") == "secret"
TTL_S, ROTATE_AFTER_S, GRACE_S = 90 * 86_400, 60 * 86_400, 7 * 86_400


def destination(name: str) -> gatehouse.DestinationArgs:
    """A secret that exists, or a file in this folder."""
    if SECRETS:
        return {"secret": f"gatehouse/tokens/{name}"}
    return {"file": f"{name}.token"}


starter = gatehouse.Plan(
    "starter",
    name="starter-as-code",
    description="Trials and small shops.",
    scopes=["orders:read"],
    limits=[{"name": "requests", "quota": 60, "window_s": 60}],
    credits={"amount": 10_000, "every": "month"},
)

for customer_id, name in (("shop-1", "First shop"), ("shop-2", "Second shop")):
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

gatehouse.Core("reports", name="reports", ttl_s=TTL_S, destination=destination("reports"))
