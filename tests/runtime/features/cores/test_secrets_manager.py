"""Secrets Manager that is silent or denies."""

import pytest
from gatehouse.core.errors import NotFound, Unavailable
from gatehouse.features.cores import secrets_manager
from gatehouse.features.cores.secrets_manager import SecretsManager
from moto import mock_aws

from tests.runtime.silent_servers import silent_server

pytestmark = pytest.mark.usefixtures("aws_credentials")


async def test_silent_server_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets_manager, "_TIMEOUT_S", 0.1)
    with silent_server() as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        with pytest.raises(Unavailable) as caught:
            await SecretsManager().read("docs")
    assert caught.value.detail == "Secrets Manager ReadTimeoutError"


async def test_missing_secret_is_not_found() -> None:
    with mock_aws(), pytest.raises(NotFound) as caught:
        await SecretsManager().read("docs")
    assert caught.value.detail == "ResourceNotFoundException"
