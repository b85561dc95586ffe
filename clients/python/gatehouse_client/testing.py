"""Gateways for tests, which make decisions without a network.

gateway = FakeGateway({"reader": FakeKey(scopes=["orders:read"], customer_id="shop")})
assert gateway.verify("reader", scopes=["orders:read"]).valid
"""

from gatehouse_client._async.testing import AsyncFakeGateway
from gatehouse_client._sync.testing import FakeGateway
from gatehouse_client.fake_gateway import FakeKey

__all__ = ["AsyncFakeGateway", "FakeGateway", "FakeKey"]
