"""Endpoint for the import of keys."""

from __future__ import annotations

from gatehouse.core.errors import BadRequest, Problem
from gatehouse.core.roles import OPERATORS
from gatehouse.features.keys.models import Effective
from gatehouse.features.keys.service import DEFAULT_SCOPES
from gatehouse.features.transfer.file_formats import MalformedFile
from gatehouse.features.transfer.repository import Run
from gatehouse.features.transfer.schemas import (
    CONTENT_CHARS_MAX,
    INVALID_ROWS_MAX,
    ROWS_MAX,
    ImportKeys,
    ImportReport,
    InvalidRowView,
    RowProblem,
)
from gatehouse.features.transfer.service import CheckedImport, ImportOptions, ImportService
from gatehouse.platform.http.endpoint import Endpoint, StepUp
from gatehouse.platform.http.request import Request
from gatehouse.platform.http.validation import invalid

#: JSON can need several bytes for a character.
BODY_EXTRA_BYTES = 4 * CONTENT_CHARS_MAX


async def import_keys(request: Request, body: ImportKeys, imports: ImportService) -> ImportReport:
    """Import keys from another system.

    The file contains tokens or their hashes (see docs/guides/migrate.md). The gateway accepts the
    imported tokens unchanged. The whole file is validated before the first key is written. A
    repeated import does not change existing keys. Imported keys cannot have the scope `admin` or a
    role.
    """
    options = ImportOptions(
        ignored=frozenset(body.ignore),
        scopes=DEFAULT_SCOPES if body.scopes is None else tuple(body.scopes),
    )
    job = await imports.job(body.content, body.file_name, options)
    try:
        checked = await job.check(_check_size)
    except MalformedFile as exc:
        raise invalid(
            "body.content", f"line {exc.line} {exc.message}", "correct the file, or its extension"
        ) from None
    if body.dry_run:
        valid = checked.run.rows - len(checked.invalid)
        return _report(
            checked,
            dry_run=True,
            imported=valid - checked.existing,
            existing=checked.existing,
            effective=None,
        )
    if checked.invalid and not body.skip_invalid:
        raise BadRequest(
            (
                f"The file has {len(checked.invalid)} invalid rows. Nothing was written. Correct "
                f"these rows, or set `skip_invalid`."
            ),
            errors=tuple(
                Problem(f"line {row.line}", problem.message, problem.fix)
                for row in checked.invalid[:INVALID_ROWS_MAX]
                for problem in row.problems
            ),
        )
    states: list[Run] = []
    run = await job.write(checked, request.actor, states.append)
    confirmed = await imports.is_confirmed()
    # The run also counts rows that an earlier import of the same file has written.
    imported = run.imported - states[0].imported
    existing = checked.run.rows - len(checked.invalid) - imported
    effective = Effective.EVERYWHERE if confirmed else Effective.WITHIN_BOUND
    return _report(
        checked, dry_run=False, imported=imported, existing=existing, effective=effective
    )


def _check_size(rows: int) -> None:
    if rows > ROWS_MAX:
        raise invalid(
            "body.content",
            f"has more than {ROWS_MAX:,} rows",
            "divide the file, or use gatehouse import",
        )


def _report(
    checked: CheckedImport,
    *,
    dry_run: bool,
    imported: int,
    existing: int,
    effective: Effective | None,
) -> ImportReport:
    return ImportReport(
        dry_run=dry_run,
        rows=checked.run.rows,
        imported=imported,
        existing=existing,
        invalid=len(checked.invalid),
        invalid_rows=[
            InvalidRowView(
                row.line,
                [
                    RowProblem(problem.location, problem.message, problem.fix)
                    for problem in row.problems
                ],
            )
            for row in checked.invalid[:INVALID_ROWS_MAX]
        ],
        effective=None if effective is None else effective.value,
    )


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/imports",
        tag="keys",
        handler=import_keys,
        roles=OPERATORS,
        step_up=StepUp.MANAGING,
        secret_fields=frozenset({"content"}),
        body_extra_bytes=BODY_EXTRA_BYTES,
        errors=(409,),
    ),
)
