"""Conformance of the sharing service and its console endpoints."""

import asyncio
from typing import Any

import pytest
import schemathesis
from gatehouse.features.secrets.links import claim_id_of
from schemathesis import Case, GenerationMode
from schemathesis.python.asgi import get_client
from schemathesis.specs.openapi.checks import allow_header_conformance

from tests.runtime.conftest import Database
from tests.runtime.console_client import BOOTSTRAP, LogRecorder, composition, create_pool
from tests.runtime.features.secret_requests.test_service import request
from tests.runtime.features.secrets.services import Sharing
from tests.runtime.openapi_conformance import EXAMPLES, failures, validate, without_security


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_secrets_match_openapi(database: Database, sharing: Sharing, mode: GenerationMode) -> None:
    log = LogRecorder()
    app: Any = composition(
        create_pool(database), log, **sharing.console("https://sharing.test")
    ).application()
    with get_client(app) as client:
        schema: Any = schemathesis.openapi.from_dict(
            without_security(client.get("http://testserver/openapi.json").json())
        )
        schema = schema.include(path_regex="/v1/secret.*")
        schema.app = app

        def send(case: Case[Any]) -> None:
            sharing.clock.advance(30)  # so that the rate limit of creations is not reached
            reply = case.call(session=client, headers={"Authorization": f"Bearer {BOOTSTRAP}"})
            assert reply.status_code < 500, (
                f"{case.method} {case.path}: {log.entries[-1]['detail']}"
            )
            validate(case, reply, allow_header_conformance)

        assert failures(schema, mode, send, EXAMPLES or 2) == []


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_links_and_submissions_match_openapi(sharing: Sharing, mode: GenerationMode) -> None:
    app: Any = sharing.app()
    succeeded: set[str] = set()
    with get_client(app) as client:
        schema: Any = schemathesis.openapi.from_dict(
            client.get("http://testserver/openapi.json").json()
        )
        schema.app = app

        def send(case: Case[Any]) -> None:
            sharing.clock.advance(600)  # so that denied attempts are not limited
            if mode is GenerationMode.POSITIVE and isinstance(case.body, dict):
                body: Any = case.body
                body.update(asyncio.run(_existing(sharing, case.path, body)))
            reply = case.call(session=client)
            if reply.status_code < 300:
                succeeded.add(case.path)
            validate(case, reply, allow_header_conformance)

        assert failures(schema, mode, send, EXAMPLES or 3) == []
    if mode is GenerationMode.POSITIVE:
        assert succeeded >= {f"/v1/links/{action}" for action in ("lookup", "open", "acknowledge")}
        assert "/v1/requests/submit" in succeeded


async def _existing(sharing: Sharing, path: str, body: dict[str, Any]) -> dict[str, str]:
    if "/requests/" in path:
        _, submission, _ = await request(sharing)
        return {"link": submission.url("https://sharing.test")}
    _, [token] = await sharing.create()
    fields = {"link": token.url("https://sharing.test")}
    if path == "/v1/links/acknowledge":
        await sharing.open(token, claim=claim_id_of(body["claim"], token.path))
    return fields
