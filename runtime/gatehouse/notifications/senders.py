"""Delivery channels: webhooks, with the same protection against server-side request forgery as Cores, and an SNS topic."""

from __future__ import annotations

import asyncio
import os
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from gatehouse.cores.models import UpstreamRequest
from gatehouse.cores.upstream import UpstreamClients
from gatehouse.errors import BadRequest, CoreTimeout, CoreUnreachable
from gatehouse.notifications.models import Delivery, Webhook

#: Timeout of a delivery in all.
TIMEOUT_S = 10.0
_SNS_TIMEOUT_S = 3


class WebhookSender:
    """Sends to the address that the host name resolves to and that was checked. Redirects are not followed."""

    def __init__(self, upstreams: UpstreamClients) -> None:
        self._upstreams = upstreams

    async def send(self, webhook: Webhook, delivery: Delivery, headers: dict[str, str]) -> str:
        """Empty if the receiver responded with 2xx, otherwise the reason, without content of the response. Never raises."""
        parts = urlsplit(webhook.url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        body = delivery.body.encode()
        fixed = [("content-type", "application/json"), ("content-length", str(len(body))), ("user-agent", "gatehouse")]
        request = UpstreamRequest(method="POST", target=target, headers=[*fixed, *headers.items()], body=body)
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                self._upstreams.send(f"{parts.scheme}://{parts.netloc}", request) as reply,
            ):
                return "" if 200 <= reply.status < 300 else f"responded with {reply.status}"
        except (CoreTimeout, TimeoutError):
            return f"no response within {TIMEOUT_S:.0f} s"
        except BadRequest:
            return "not sent: the request cannot be built"
        except CoreUnreachable as exc:
            return f"not reached: {exc.detail}" if "address" in exc.detail else "not reached"


class SnsTopic:
    """SNS topic. Needs sns:Publish. Subscribers can filter by the message attribute `event`."""

    def __init__(self, arn: str) -> None:
        config = Config(connect_timeout=_SNS_TIMEOUT_S, read_timeout=_SNS_TIMEOUT_S, retries={"total_max_attempts": 1})
        self._arn = arn
        self._client = boto3.client("sns", region_name=os.environ.get("AWS_REGION"), config=config)

    async def publish(self, delivery: Delivery) -> str:
        """Empty on success, otherwise the reason. Never raises."""
        return await asyncio.to_thread(self._publish, delivery)

    def _publish(self, delivery: Delivery) -> str:
        attributes = {"event": {"DataType": "String", "StringValue": delivery.event}}
        try:
            self._client.publish(
                TopicArn=self._arn, Subject=f"Gatehouse: {delivery.event}", Message=delivery.body, MessageAttributes=attributes
            )
        except ClientError as exc:
            return f"SNS returned an error: {exc.response.get('Error', {}).get('Code', '')}"
        except BotoCoreError as exc:
            return f"SNS not reached: {type(exc).__name__}"
        return ""
