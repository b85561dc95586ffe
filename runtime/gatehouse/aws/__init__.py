"""Clients of AWS services, and the errors of their calls."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from gatehouse.errors import Unavailable

#: Raised by every call. `ClientError`: the service returned an error; `BotoCoreError`: there was no response.
AWS_ERRORS = (BotoCoreError, ClientError)

_Result = TypeVar("_Result")


def create_client(
    service: str, *, timeout_s: float, attempts: int, read_timeout_s: float | None = None, config: Config | None = None
) -> Any:
    """A client with timeouts of a connection and of a response (`timeout_s` by default). Opens no connection yet.

    config: further settings of the client.
    """
    bounds = Config(connect_timeout=timeout_s, read_timeout=read_timeout_s or timeout_s, retries={"total_max_attempts": attempts})
    config = bounds if config is None else bounds.merge(config)
    # boto3 reads AWS_DEFAULT_REGION only, but tasks have AWS_REGION (contract.toml).
    return boto3.client(service, region_name=os.environ.get("AWS_REGION"), config=config)  # type: ignore[call-overload]


def error_code(exc: Exception) -> str:
    """Error code of the service; empty if there was no response."""
    return str(exc.response.get("Error", {}).get("Code", "")) if isinstance(exc, ClientError) else ""


def error_detail(exc: Exception) -> str:
    """Class and error code, for logs."""
    return f"{type(exc).__name__} {error_code(exc)}".strip()


async def call(operation: Callable[..., _Result], service: str, **arguments: Any) -> _Result:
    """Run an operation of a client in a thread, because boto3 blocks. `service`: its name for messages.

    Raises Unavailable, whose cause is the error of boto3.
    """
    try:
        return await asyncio.to_thread(operation, **arguments)
    except AWS_ERRORS as exc:
        raise Unavailable(f"{service} is not available.", detail=f"{service} {error_detail(exc)}") from exc
