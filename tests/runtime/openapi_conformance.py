"""Conformance of a service with its OpenAPI document, with deterministic examples of schemathesis.
`GATEHOUSE_EXAMPLES=200` runs more of them, with random inputs.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks

#: Examples of each operation; 0: the default of the test.
EXAMPLES = int(os.environ.get("GATEHOUSE_EXAMPLES", "0"))
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.unsupported_method,
    checks.missing_required_header,
]
#: Status codes that schemathesis does not treat as a rejection: version conflict, content too
#: large, URL too long, header fields and URL too long.
_REJECTIONS = (412, 413, 414, 431)
#: No shrinking: it takes longer than reading the failure.
BOUNDS = settings(
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def without_security(document: dict[str, Any]) -> dict[str, Any]:
    for operation in (entry for item in document["paths"].values() for entry in item.values()):
        if isinstance(operation, dict):
            operation.pop("security", None)
    return document


def validate(case: Case[Any], reply: Any, *more: Any) -> None:
    skipped = []
    if reply.status_code in _REJECTIONS:
        skipped.append(checks.negative_data_rejection)
    if reply.request.method == "HEAD":  # Envoy removes the media type of a denial without a body
        skipped.append(checks.content_type_conformance)
    try:
        case.validate_response(
            reply, checks=[check for check in (*CHECKS, *more) if check not in skipped]
        )
    except FailureGroup as exc:
        failures = "; ".join(str(failure).partition("\n")[0] for failure in exc.exceptions)
        raise AssertionError(
            f"{reply.request.method} {str(reply.request.url)[:200]}: {reply.status_code}, "
            f"{failures}"
        ) from exc


@contextmanager
def credential_in_failure(credential: str) -> Iterator[None]:
    try:
        yield
    except AssertionError as exc:
        raise AssertionError(f"{credential}: {exc}") from exc


def failures(
    schema: Any, mode: GenerationMode, send: Callable[[Case[Any]], None], examples: int
) -> list[str]:
    """Sends examples of every operation. Returns the failure of each that does not conform."""
    result = []
    operations: list[Any] = [item.ok() for item in schema.get_all_operations()]
    assert operations
    for operation in operations:
        bounds = settings(BOUNDS, max_examples=examples)
        run: Any = bounds(given(operation.as_strategy(generation_mode=mode))(send))  # type: ignore[no-untyped-call]
        try:
            run()
        except Unsatisfiable:
            continue  # no input of this operation could be invalid
        except AssertionError as exc:
            result.append(str(exc))
    return result
