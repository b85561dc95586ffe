"""Conformance of the gateway with its OpenAPI document."""

from typing import Any

import pytest
import requests
import schemathesis
from gatehouse.services.gateway.routes import document
from schemathesis import Case, GenerationMode

from tests.runtime.openapi_conformance import (
    EXAMPLES,
    credential_in_failure,
    failures,
    validate,
    without_security,
)
from tests.runtime.services.gateway.conftest import limit

#: Scopes of the keys.
_KINDS = {"reader": ["cores:read"], "agent": ["cores:register"]}


@pytest.fixture
async def tokens(gateway: Any) -> dict[str, str]:
    limits = [limit(1_000_000, 1)]
    created = {
        kind: (await gateway.create_key(scopes=scopes, limits=limits)).token
        for kind, scopes in _KINDS.items()
    }
    return {"anonymous": "", **created}


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_responses_match_openapi(
    gateway_process: Any, tokens: dict[str, str], mode: GenerationMode
) -> None:
    session = requests.Session()

    def send(case: Case[Any]) -> None:
        if mode is GenerationMode.POSITIVE and isinstance(case.body, dict) and "token" in case.body:
            case.body["token"] = (
                tokens["reader"] if "revoke-self" not in case.path else "gtk_test_unknown"
            )
        for credential, token in tokens.items():
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            with credential_in_failure(credential):
                validate(
                    case,
                    case.call(
                        base_url=f"http://127.0.0.1:{gateway_process[0]}",
                        session=session,
                        headers=headers,
                    ),
                )

    assert set(tokens) == {"anonymous", *_KINDS}
    schema = schemathesis.openapi.from_dict(without_security(document()))
    assert failures(schema, mode, send, EXAMPLES or 1) == []
