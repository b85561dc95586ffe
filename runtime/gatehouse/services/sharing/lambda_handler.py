"""Lambda handler for the sharing service, as configured in contract.toml.

The application is built on import, before the first request. If a setting is invalid, the import
fails with an error that names the setting.
"""

from gatehouse.platform import settings as configuration
from gatehouse.services.sharing import app as sharing
from gatehouse.services.sharing.lambda_adapter import lambda_handler

handler = lambda_handler(sharing.build(configuration.load_sharing()))
