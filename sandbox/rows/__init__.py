"""One row for each resource type that the emulator can create: `ROWS`, by type token."""

from sandbox.rows import (
    account,
    api,
    backup,
    balancer,
    cache,
    containers,
    costs,
    database,
    discovery,
    dns,
    encryption,
    events,
    functions,
    groups,
    identity,
    metrics,
    network,
    queues,
    s3,
    trail,
    waf,
)
from sandbox.rows.make import Make
from sandbox.rows.row import Row, create

_SERVICES = (
    account,
    api,
    backup,
    balancer,
    cache,
    containers,
    costs,
    database,
    discovery,
    dns,
    encryption,
    events,
    functions,
    groups,
    identity,
    metrics,
    network,
    queues,
    s3,
    trail,
    waf,
)

ROWS: dict[str, Row] = {token: row for service in _SERVICES for token, row in service.ROWS.items()}

__all__ = ["ROWS", "Make", "Row", "create"]
