"""Lambda handler for the sharing service, as configured in contract.toml.

The application is built on import, before the first request. If a setting is invalid, the import fails with an error that names
the setting.
"""

from __future__ import annotations

from gatehouse import settings as configuration
from gatehouse.sharing import app as sharing
from gatehouse.sharing.lambda_adapter import lambda_handler

handler = lambda_handler(sharing.build(configuration.load_sharing(), scraped=False))
