"""Lambda handler of the sharing service, as configured in contract.toml.

The application is built on import, before the first request. An invalid setting fails the import and is named in the error.
"""

from __future__ import annotations

from gatehouse import settings as configuration
from gatehouse.sharing import app as sharing
from gatehouse.sharing.lambda_adapter import lambda_handler

handler = lambda_handler(sharing.build(configuration.load_sharing(), scraped=False))
