"""The problems that clients receive for errors of requests to Cores, by the flags of Envoy. Their
default texts are in core/errors.py.
"""

from typing import Any

from gatehouse.core import errors

#: Flags, after the error that they stand for. UO also stands for a request that was not retried, so
#: it comes after the flags of failures
#: (www.envoyproxy.io/docs/envoy/v1.40.0/configuration/observability/access_log/usage).
CORE_ERRORS: tuple[tuple[Any, ...], ...] = (
    (errors.CoreUnreachable(), "UF", "LR"),
    (errors.CoreUnreachable("The Core has no address that the gateway may use."), "UH"),
    (errors.CoreMalformed(), "UPE"),
    (errors.CoreUnreachable("The Core closed the connection."), "UC", "UR"),
    (errors.CoreTimeout(), "UT", "SI"),
    (errors.CoreOverloaded(), "UO"),
    (errors.CoreNotRegistered(), "NC"),
)
