"""Clients of AWS services, and the errors of their calls."""

from __future__ import annotations

import os
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

#: Raised by every call. `ClientError`: the service returned an error; `BotoCoreError`: there was no response.
AWS_ERRORS = (BotoCoreError, ClientError)


def create_client(service: str, *, timeout_s: float, attempts: int, read_timeout_s: float | None = None) -> Any:
    """A client with timeouts of a connection and of a response (`timeout_s` by default). Opens no connection yet."""
    config = Config(connect_timeout=timeout_s, read_timeout=read_timeout_s or timeout_s, retries={"total_max_attempts": attempts})
    # boto3 reads AWS_DEFAULT_REGION only, but tasks have AWS_REGION (contract.toml).
    return boto3.client(service, region_name=os.environ.get("AWS_REGION"), config=config)  # type: ignore[call-overload]


def error_code(exc: Exception) -> str:
    """Error code of the service; empty if there was no response."""
    return str(exc.response.get("Error", {}).get("Code", "")) if isinstance(exc, ClientError) else ""


def error_detail(exc: Exception) -> str:
    """Class and error code, for logs."""
    return f"{type(exc).__name__} {error_code(exc)}".strip()
