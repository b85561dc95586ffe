"""The share service as a function: `handler` is what contract.toml tells Lambda to call.

Built when the module is imported, which Lambda does before the first request; a wrong setting fails there and names its
variable."""

from __future__ import annotations

from gatehouse import settings as configuration
from gatehouse.sharing import app as sharing
from gatehouse.sharing.lambda_adapter import adapted

handler = adapted(sharing.build(configuration.load_sharing(), scraped=False))
