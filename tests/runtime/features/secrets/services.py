"""The secret sharing services with one clock. Does not import the AWS emulator, which takes two
seconds of CPU time in each process.
"""

import os
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any

import boto3
import httpx
from gatehouse.core.actor import Actor, RequestId
from gatehouse.features.secret_requests.service import RequestService
from gatehouse.features.secrets.backend import Backend
from gatehouse.features.secrets.link_token import LinkToken
from gatehouse.features.secrets.links import LinkService, Opened
from gatehouse.features.secrets.models import Client, Secret
from gatehouse.features.secrets.schemas import CreateSecret, NewFile
from gatehouse.features.secrets.service import NewItem, SecretService
from gatehouse.platform.observability import Observer
from gatehouse.platform.settings import SharingSettings
from gatehouse.services.sharing.app import create

from tests.runtime.clocks import ManualClock

REGION = "eu-central-1"
TABLE, BUCKET = "tokens", "secrets-bucket"
ORIGIN = "https://sharing.gatehouse.example.com"
ACTOR = Actor(type="key", id="3fGh82kLmQ0a")
CLIENT = Client("198.51.100.7", RequestId("req_1"))
TEXT = b"correct horse battery staple \xf0\x9f\x90\xb4"


@dataclass(frozen=True)
class Sharing:
    """Services of one environment. `s3` and `dynamodb` are clients with all permissions."""

    backend: Backend
    secrets: SecretService
    links: LinkService
    requests: RequestService
    clock: ManualClock
    s3: Any
    dynamodb: Any

    async def create(self, text: bytes = TEXT, **values: Any) -> tuple[Secret, list[LinkToken]]:
        """`items`: the content instead of text. `values`: fields of CreateSecret, and `owner`."""
        creator = Actor(type="key", id=os.urandom(6).hex())
        items: list[NewItem] = values.pop("items", [NewItem(text)])
        owner = values.pop("owner", creator.label)
        texts = [item.content.decode() for item in items if not item.name]
        files = [
            NewFile(name=item.name, media_type=item.media_type, content_base64=item.content)
            for item in items
            if item.name
        ]
        content = {"text": texts[0] if texts else None, "files": files}
        options = {"sender": "Ada", "ttl_s": 3600, **content, **values}
        return await self.secrets.create(CreateSecret(**options), owner, creator)

    async def open(
        self, token: LinkToken, claim: str = "", passphrase: str = "", client: Client = CLIENT
    ) -> Opened:
        return await self.links.open(token, passphrase, claim or os.urandom(16).hex(), client)

    async def text(self, opened: Opened, number: int = 0) -> bytes:
        return (await self.links.read(opened, opened.items[number]))[0]

    async def read(self, token: LinkToken, **options: Any) -> bytes:
        return await self.text(await self.open(token, **options))

    def console(self, url: str) -> dict[str, Any]:
        """Composition of a console that manages the secrets. `url`: public URL of the sharing
        service.
        """
        return {"sharing": self.backend, "sharing_url": url, "clock": self.clock}

    def app(self, **options: Any) -> Any:
        defaults = {"observer": Observer("sharing", "error", "test"), "https": True}
        return create(**{**defaults, "backend": self.backend, **options})

    def client(self, *, address: str = CLIENT.address, **options: Any) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app(**options), client=(address, 4711))
        return httpx.AsyncClient(transport=transport, base_url=ORIGIN, trust_env=False)

    def object_versions(self) -> list[str]:
        reply = self.s3.list_object_versions(Bucket=BUCKET)
        return [
            entry["Key"] for entry in (*reply.get("Versions", ()), *reply.get("DeleteMarkers", ()))
        ]


def settings(key: str) -> SharingSettings:
    return SharingSettings(
        environment="test",
        log_level="error",
        secret_links_table=TABLE,
        secrets_bucket=BUCKET,
        secrets_key=key,
        sharing_url=ORIGIN,
    )


def services(settings: SharingSettings, clock: ManualClock) -> Sharing:
    backend = Backend.from_settings(settings, clock)
    assert backend is not None
    return of_backend(
        backend,
        clock,
        boto3.client("s3", region_name=REGION),
        boto3.client("dynamodb", region_name=REGION),
    )


def of_backend(backend: Backend, clock: ManualClock, s3: Any, dynamodb: Any) -> Sharing:
    # A semaphore belongs to the event loop of a test.
    limits: dict[str, Any] = {
        field.name: field.default_factory()
        for field in fields(backend)
        if field.default_factory is not MISSING
    }
    backend = replace(backend, **limits)
    secrets = SecretService(backend, "")
    return Sharing(
        backend,
        secrets,
        LinkService(backend),
        RequestService(backend, secrets),
        clock,
        s3,
        dynamodb,
    )
