"""`RESOURCE_TYPES` contains the emulated resource types, keyed by type token. Each module defines a
group of AWS services, keyed by class.
"""

import pkgutil
from importlib import import_module

from gatehouse_policies.analysis.type_tokens import by_token

from sandbox.emulator.resource_type import ResourceType

_MODULES = [import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
RESOURCE_TYPES: dict[str, ResourceType] = {
    token: row for module in _MODULES for token, row in by_token(module.RESOURCE_TYPES).items()
}
