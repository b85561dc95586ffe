"""Records the last calls of this process to each system on which it depends: when one succeeded,
when one failed, and why. The state of a system is judged by these calls, and not by others.
"""

from collections.abc import Mapping
from typing import Literal, get_args

import msgspec

from gatehouse.core.clock import monotonic

Dependency = Literal[
    "PostgreSQL",
    "Redis",
    "DynamoDB",
    "S3",
    "KMS",
    "Secrets Manager",
    "SNS",
    "SES",
    "CloudWatch Logs",
    "identity provider",
    "trace collector",
]
DEPENDENCIES: tuple[Dependency, ...] = get_args(Dependency)


class LastCalls(msgspec.Struct, frozen=True):
    """Times of the last call of an operation that succeeded, and of the last one that failed, as
    `monotonic`. None: there was none. problem: of the last failure.
    """

    succeeded_at: float | None = None
    failed_at: float | None = None
    problem: str = ""


_NONE = LastCalls()
_last: dict[Dependency, dict[str, LastCalls]] = {}


def succeeded(dependency: Dependency, operation: str = "") -> None:
    operations = _last.setdefault(dependency, {})
    before = operations.get(operation, _NONE)
    operations[operation] = LastCalls(monotonic(), before.failed_at, before.problem)


def failed(dependency: Dependency, problem: str, operation: str = "") -> None:
    """problem: the kind of the error, such as `TimeoutError`, and never its message."""
    operations = _last.setdefault(dependency, {})
    before = operations.get(operation, _NONE)
    operations[operation] = LastCalls(before.succeeded_at, monotonic(), problem)


def last_calls(dependency: Dependency) -> Mapping[str, LastCalls]:
    """The last calls by operation, such as `generate_data_key`; empty if there was no call. The
    operation is empty for systems of which only one is used.
    """
    return {**_last.get(dependency, {})}
