"""Clients for the console, the gateway and the sharing service. The methods return the response
types of the services.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, BinaryIO, TypeVar

import httpx
import msgspec

from gatehouse.client.http import Client, Retries, query_parameters
from gatehouse.client.presigned import EncryptedFile, file_size
from gatehouse.core.errors import Unavailable
from gatehouse.features.audit.schemas import (
    AuditEventPage,
    AuditEventView,
    AuditStatus,
    AuditVerification,
    CheckpointPage,
    CheckpointView,
)
from gatehouse.features.cores.schemas import CorePage, CoreView
from gatehouse.features.identity.schemas import (
    CreatedSignInLink,
    EndedSessions,
    SessionList,
    SessionView,
)
from gatehouse.features.keys.pepper_schemas import PepperStatus, Propagation
from gatehouse.features.keys.schemas import (
    ChangedKey,
    CreatedKey,
    KeyPage,
    KeyView,
    PurgedKey,
    RotatedKey,
)
from gatehouse.features.keys.signing_schemas import SigningKeySet
from gatehouse.features.notifications.schemas import (
    CreatedWebhook,
    DeliveryPage,
    DeliveryView,
    WebhookList,
    WebhookView,
)
from gatehouse.features.operations.schemas import FeatureList, FeatureView, LogLevel
from gatehouse.features.sharing.encryption import KEY_BYTES, DecryptionFailed, decrypt_item
from gatehouse.features.sharing.link_schemas import LinkPreview, OpenedItemDownload, OpenedSecret
from gatehouse.features.sharing.models import LAMBDA_FILES_BYTES_MAX
from gatehouse.features.sharing.requests.schemas import (
    CreatedSecretRequest,
    SecretRequestPage,
    SecretRequestView,
)
from gatehouse.features.sharing.requests.submission_schemas import (
    SubmissionReceived,
    SubmittedSecret,
    UploadConflict,
    UploadsNotSupported,
    UploadView,
)
from gatehouse.features.sharing.schemas import CreatedSecret, Receipt, SecretPage, SecretView
from gatehouse.features.usage.schemas import KeyUsage, UsageSeries
from gatehouse.features.verification.explanation import Explanation
from gatehouse.features.verification.schemas import (
    RateLimitOverride,
    SelfRevocationRequest,
    SelfRevocationResponse,
    VerifyReply,
    VerifyRequest,
)
from gatehouse.platform.http.endpoint import FILE_PART, JSON_PART
from gatehouse.platform.http.fields import PAGE_SIZE_MAX

_Model = TypeVar("_Model", bound=msgspec.Struct)
_Page = TypeVar(
    "_Page", KeyPage, AuditEventPage, CorePage, DeliveryPage, SecretPage, SecretRequestPage
)


class ConsoleClient(Client):
    """A synchronous client. In asyncio, call the methods with `asyncio.to_thread`.

    Every method raises a GatehouseError with a message for users. Methods raise Unavailable if the
    console cannot be reached. Each method with the argument `idempotency_key` sends an
    Idempotency-Key, so the request takes effect only once, even if it is sent repeatedly. To resume
    after a crash, store an `idempotency_key` before the call and pass it again: the repeated call
    returns the first response.
    """

    def __init__(
        self,
        console: str,
        token: str,
        *,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Arguments: URL of the console, admin credential, retry policy, and HTTP transport for
        tests.
        """
        super().__init__(
            "console", console, {"Authorization": f"Bearer {token}"}, retries, transport
        )

    def create_key(
        self, request: dict[str, Any], *, idempotency_key: str | None = None
    ) -> CreatedKey:
        """Creates a key. `request`: the fields of POST /v1/keys."""
        return self._post(CreatedKey, "/v1/keys", request, idempotency_key)

    def keys(self, **query: str | int | None) -> Iterator[KeyView]:
        """Yields all keys that match the query of GET /v1/keys. Reads one page at a time."""
        for page in self._pages(KeyPage, "/v1/keys", **query):
            yield from page.keys

    def key(self, key_id: str) -> KeyView:
        """Returns a key. Raises NotFound."""
        return self._get(KeyView, f"/v1/keys/{key_id}")

    def revoke_key(
        self, key_id: str, reason: str, *, idempotency_key: str | None = None
    ) -> ChangedKey:
        return self._post(
            ChangedKey, f"/v1/keys/{key_id}/revoke", {"reason": reason}, idempotency_key
        )

    def update_key(
        self, key_id: str, request: dict[str, Any], *, version: int | None
    ) -> ChangedKey:
        """Changes a key. `request`: the fields of PATCH /v1/keys/{id}. `version`: the expected
        version; None: any version.

        Raises PreconditionFailed if the key has another version.
        """
        return self._decode(
            ChangedKey,
            self._send("PATCH", f"/v1/keys/{key_id}", json=request, headers=_if_match(version)),
        )

    def act(
        self,
        key_id: str,
        action: str,
        request: dict[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> ChangedKey:
        """Performs an action on a key. `action`: disable, enable, restore or end-grace."""
        return self._post(ChangedKey, f"/v1/keys/{key_id}/{action}", request, idempotency_key)

    def delete_key(self, key_id: str, request: dict[str, Any]) -> ChangedKey:
        return self._decode(ChangedKey, self._send("DELETE", f"/v1/keys/{key_id}", json=request))

    def rotate_key(
        self, key_id: str, request: dict[str, Any], *, idempotency_key: str | None = None
    ) -> RotatedKey:
        return self._post(RotatedKey, f"/v1/keys/{key_id}/rotate", request, idempotency_key)

    def purge_key(
        self, key_id: str, reason: str, *, idempotency_key: str | None = None
    ) -> PurgedKey:
        """Erases the data of a deleted or revoked key. A purge cannot be undone."""
        request = {"confirm": key_id, "reason": reason}
        return self._post(PurgedKey, f"/v1/keys/{key_id}/purge", request, idempotency_key)

    def explain_key(self, key_id: str, request: dict[str, Any]) -> Explanation:
        return self._decode(
            Explanation,
            self._send("POST", f"/v1/keys/{key_id}/explain", retryable=True, json=request),
        )

    def set_signing(self, key_id: str, request: dict[str, Any]) -> SigningKeySet:
        """Sets the signing key. `request`: the fields of PUT /v1/keys/{id}/signing."""
        return self._decode(
            SigningKeySet, self._send("PUT", f"/v1/keys/{key_id}/signing", json=request)
        )

    def remove_signing(self, key_id: str) -> ChangedKey:
        return self._decode(ChangedKey, self._send("DELETE", f"/v1/keys/{key_id}/signing"))

    def create_secret(
        self,
        request: dict[str, Any],
        files: Sequence[BinaryIO] = (),
        *,
        idempotency_key: str | None = None,
    ) -> CreatedSecret:
        """Creates a secret. `request`: the fields of POST /v1/secrets. Only this response contains
        the links.

        files: contents of the entries in `files` without `content_base64`, in the same order. The
            files must be seekable.
        """
        return self._decode(
            CreatedSecret,
            self._send_once("/v1/secrets", key=idempotency_key, **_content(request, files)),
        )

    def secrets(self, **query: str | int | None) -> Iterator[SecretView]:
        """Yields all secrets that match the query of GET /v1/secrets. Reads one page at a time."""
        for page in self._pages(SecretPage, "/v1/secrets", **query):
            yield from page.secrets

    def secret(self, secret_id: str) -> SecretView:
        """Returns the metadata of a secret. Raises NotFound."""
        return self._get(SecretView, f"/v1/secrets/{secret_id}")

    def update_secret(
        self, secret_id: str, request: dict[str, Any], *, revision: int | None
    ) -> SecretView:
        """Changes a secret. `request`: the fields of PATCH /v1/secrets/{secret}.

        revision: the expected revision; None: any revision. Raises PreconditionFailed if the secret
            has another revision.
        """
        reply = self._send(
            "PATCH", f"/v1/secrets/{secret_id}", json=request, headers=_if_match(revision)
        )
        return self._decode(SecretView, reply)

    def replace_content(
        self,
        secret_id: str,
        request: dict[str, Any],
        files: Sequence[BinaryIO] = (),
        *,
        revision: int | None,
    ) -> SecretView:
        """Adds a version of the content. `request`: the fields of PUT /v1/secrets/{secret}/content.

        files: as for `create_secret`. revision: as for `update_secret`.
        """
        content = _content(request, files)
        reply = self._send(
            "PUT", f"/v1/secrets/{secret_id}/content", headers=_if_match(revision), **content
        )
        return self._decode(SecretView, reply)

    def restore_version(self, secret_id: str, version: int, *, revision: int | None) -> SecretView:
        """Makes an earlier version of the content the current version. `revision`: as for
        `update_secret`.
        """
        path, headers = f"/v1/secrets/{secret_id}/restore-version", _if_match(revision)
        return self._decode(
            SecretView, self._send("POST", path, json={"version": version}, headers=headers)
        )

    def revoke_secret(self, secret_id: str, *, idempotency_key: str | None = None) -> SecretView:
        return self._post(SecretView, f"/v1/secrets/{secret_id}/revoke", {}, idempotency_key)

    def revoke_secret_link(
        self, secret_id: str, link_id: str, *, idempotency_key: str | None = None
    ) -> SecretView:
        return self._post(
            SecretView, f"/v1/secrets/{secret_id}/links/{link_id}/revoke", {}, idempotency_key
        )

    def secret_receipt(self, secret_id: str) -> Receipt:
        return self._get(Receipt, f"/v1/secrets/{secret_id}/receipt")

    def request_secret(
        self, request: dict[str, Any], *, idempotency_key: str | None = None
    ) -> CreatedSecretRequest:
        """Creates a secret request. Only this response contains the submission link.

        `request`: the fields of POST /v1/secret-requests. `client.retrieval_links` creates the
        links that open the submitted secrets, and the entries for the field `retrieval_links`.
        """
        return self._post(CreatedSecretRequest, "/v1/secret-requests", request, idempotency_key)

    def secret_requests(self, **query: str | int | None) -> Iterator[SecretRequestView]:
        """Yields all secret requests that match the query of GET /v1/secret-requests. Reads one
        page at a time.
        """
        for page in self._pages(SecretRequestPage, "/v1/secret-requests", **query):
            yield from page.requests

    def secret_request(self, request_id: str) -> SecretRequestView:
        """Returns a secret request with the IDs of the submitted secrets. Raises NotFound."""
        return self._get(SecretRequestView, f"/v1/secret-requests/{request_id}")

    def revoke_secret_request(
        self, request_id: str, *, idempotency_key: str | None = None
    ) -> SecretRequestView:
        return self._post(
            SecretRequestView, f"/v1/secret-requests/{request_id}/revoke", {}, idempotency_key
        )

    def pepper_status(self) -> PepperStatus:
        return self._get(PepperStatus, "/v1/pepper")

    def propagation(self) -> Propagation:
        return self._get(Propagation, "/v1/propagation")

    def audit_status(self) -> AuditStatus:
        return self._get(AuditStatus, "/v1/audit-status")

    def audit_events(self, **query: str | None) -> Iterator[AuditEventView]:
        """Yields the audit events that match the query of GET /v1/audit-events, newest first. Reads
        one page at a time.
        """
        for page in self._pages(AuditEventPage, "/v1/audit-events", **query, limit=PAGE_SIZE_MAX):
            yield from page.events

    def audit_export(self, **query: str | None) -> Iterator[bytes]:
        """Yields the response to GET /v1/audit-export in chunks."""
        return self._stream("GET", "/v1/audit-export", params=query_parameters(**query))

    def audit_checkpoints(self) -> Iterator[CheckpointView]:
        """Yields all checkpoints, oldest first."""
        after: int | None = 0
        while after is not None:
            page = self._get(
                CheckpointPage, "/v1/audit-checkpoints", after=after, limit=PAGE_SIZE_MAX
            )
            yield from page.checkpoints
            after = page.next_after

    def audit_verification(self) -> AuditVerification:
        """Returns the result of the server's verification of the hash chain."""
        return self._get(AuditVerification, "/v1/audit-verification")

    def usage(self, **query: str | None) -> UsageSeries:
        """Returns the number of requests over time. `query`: the parameters of GET /v1/usage."""
        return self._get(UsageSeries, "/v1/usage", **query)

    def key_usage(self, key_id: str) -> KeyUsage:
        return self._get(KeyUsage, f"/v1/keys/{key_id}/usage")

    def cores(self) -> Iterator[CoreView]:
        """Yields all registered instances of Cores. Reads one page at a time."""
        for page in self._pages(CorePage, "/v1/cores"):
            yield from page.cores

    def end_core(self, name: str) -> None:
        """Drains all instances of a Core. Raises NotFound."""
        self._send("DELETE", f"/v1/cores/{name}")

    def end_core_instance(self, name: str, instance: str) -> None:
        """Drains an instance of a Core. Raises NotFound."""
        self._send("DELETE", f"/v1/cores/{name}/instances/{instance}")

    def create_webhook(
        self, url: str, events: list[str] | None = None, *, idempotency_key: str | None = None
    ) -> CreatedWebhook:
        """Creates a webhook. The secret is returned only in this response. If `events` is empty,
        subscribes to all events.
        """
        request = {"url": url, "events": events or []}
        return self._post(CreatedWebhook, "/v1/webhooks", request, idempotency_key)

    def webhooks(self) -> list[WebhookView]:
        return self._get(WebhookList, "/v1/webhooks").webhooks

    def delete_webhook(self, webhook: str) -> None:
        self._send("DELETE", f"/v1/webhooks/{webhook}")

    def deliveries(self, state: str = "dead") -> Iterator[DeliveryView]:
        """Yields the deliveries in a state: waiting, delivered or dead. Reads one page at a
        time.
        """
        for page in self._pages(DeliveryPage, "/v1/deliveries", state=state):
            yield from page.deliveries

    def retry_delivery(
        self, notification: str, destination: str, *, idempotency_key: str | None = None
    ) -> None:
        """Retries a failed delivery."""
        self._send_once(f"/v1/deliveries/{notification}/{destination}/retry", key=idempotency_key)

    def log_level(self) -> LogLevel:
        return self._get(LogLevel, "/v1/log-level")

    def set_log_level(self, level: str, *, for_s: int) -> LogLevel:
        """Sets the log level of all gateway and console workers for `for_s` seconds."""
        return self._decode(
            LogLevel, self._send("PUT", "/v1/log-level", json={"level": level, "for_s": for_s})
        )

    def reset_log_level(self) -> None:
        """Restores the configured log level."""
        self._send("DELETE", "/v1/log-level")

    def features(self) -> list[FeatureView]:
        """Returns the features and their state at the console process that responds."""
        return self._get(FeatureList, "/v1/features").features

    def sessions(self) -> list[SessionView]:
        """Returns the active sessions of this credential, newest first."""
        return self._get(SessionList, "/v1/sessions").sessions

    def create_sign_in_link(self) -> str:
        """Creates a link that starts one session in a browser, within five minutes. Returns the URL
        of the link.
        """
        return (
            self._url
            + self._decode(CreatedSignInLink, self._send("POST", "/v1/sign-in-links")).path
        )

    def end_session(self, session: str) -> int:
        """Ends a session and returns 1. Owners can end any user's sessions. Raises NotFound."""
        self._send("DELETE", f"/v1/sessions/{session}")
        return 1

    def end_sessions(self, *, everybody: bool = False) -> int:
        """Ends all sessions of this credential, or of all users (owners only). Returns the number
        of ended sessions.
        """
        reply = self._send("DELETE", "/v1/sessions", params={"everybody": everybody})
        return self._decode(EndedSessions, reply).ended

    def _get(self, model: type[_Model], path: str, **query: str | int | None) -> _Model:
        return self._decode(model, self._send("GET", path, params=query_parameters(**query)))

    def _post(
        self, model: type[_Model], path: str, request: dict[str, Any], idempotency_key: str | None
    ) -> _Model:
        return self._decode(model, self._send_once(path, key=idempotency_key, json=request))

    def _pages(self, model: type[_Page], path: str, **query: str | int | None) -> Iterator[_Page]:
        cursor: str | None = None
        while True:
            page = self._get(model, path, **query, cursor=cursor)
            yield page
            cursor = page.next_cursor
            if cursor is None:
                return


class GatewayClient(Client):
    """A synchronous client without a credential. In asyncio, call the methods with
    `asyncio.to_thread`.

    A verification counts against rate limits and consumes credits, so the client retries only
    verifications with a `cost` of 0 and requests that were never sent. A denial is a result and not
    an error (see `valid` and `code`). Methods raise a GatehouseError for errors, and Unavailable if
    the gateway cannot decide.
    """

    def __init__(
        self,
        gateway: str,
        *,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Arguments: URL of the gateway, retry policy, and HTTP transport for tests."""
        super().__init__("gateway", gateway, {}, retries, transport)

    def verify(
        self,
        token: str,
        *,
        scopes: Sequence[str] = (),
        core: str | None = None,
        cost: int = 1,
        address: str | None = None,
        method: str | None = None,
        limits: Sequence[RateLimitOverride] = (),
    ) -> VerifyReply:
        """Verifies a token. With a `cost` of 0, the request does not count against limits or
        consume credits. POST /v1/keys/verify documents the other arguments."""
        request = VerifyRequest(token, tuple(scopes), core, cost, address, method, tuple(limits))
        return self._call("/v1/keys/verify", request, VerifyReply, retryable=cost == 0)

    def revoke(self, token: str, reason: str = "") -> SelfRevocationResponse:
        """Revokes the key to which the token belongs. Raises Unauthorized if no active or disabled
        key has this token.
        """
        return self._call(
            "/v1/keys/revoke-self", SelfRevocationRequest(token, reason), SelfRevocationResponse
        )

    def _call(
        self, path: str, request: msgspec.Struct, response: type[_Model], *, retryable: bool = False
    ) -> _Model:
        headers = {"Content-Type": "application/json"}
        content = msgspec.json.encode(request)
        reply = self._send("POST", path, retryable=retryable, content=content, headers=headers)
        return self._decode(response, reply)


class TransferFailed(Unavailable):
    """A file could not be transferred between this machine and S3."""

    code, title = "transfer_failed", "The transfer of a file failed"


class SharingClient(Client):
    """A synchronous client for the sharing service, for holders of links and submission links.
    Sends links only in request bodies."""

    def __init__(
        self,
        sharing: str,
        *,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Arguments: URL of the sharing service, retry policy, and HTTP transport for tests."""
        super().__init__("sharing service", sharing, {}, retries, transport)

    def look_up(self, link: str) -> LinkPreview:
        """Returns information about a link without consuming a use. Raises NotFound."""
        return self._decode(LinkPreview, self._post("lookup", link=link))

    def open(self, link: str, passphrase: str, claim: str) -> OpenedSecret:
        """Consumes one use. Another call with the same claim consumes no use. `claim`: at least 16
        random bytes as text.
        """
        return self._decode(
            OpenedSecret, self._post("open", link=link, passphrase=passphrase, claim=claim)
        )

    def save_item(
        self, link: str, passphrase: str, claim: str, number: int, target: BinaryIO
    ) -> None:
        """Downloads an item that `open` returned without content, and writes the item to an empty
        file. Retries interrupted downloads.

        number: index of the item, starting at 0. The content is complete and authentic if the
        method returns. A deployment on AWS Lambda sends large items as ciphertext through S3, and
        this method decrypts these items.
        """
        body: dict[str, str | int] = {
            "link": link,
            "passphrase": passphrase,
            "claim": claim,
            "item": number,
        }
        for attempt in count(1):
            try:
                for chunk in self._item(body):
                    target.write(chunk)
                return
            except Unavailable:
                wait_s = self._retries.wait(attempt, None)
                if wait_s is None:
                    raise
            self._retries.sleep(wait_s)
            target.seek(0)
            target.truncate()

    def acknowledge(self, link: str, claim: str) -> None:
        """Confirms that the content was received. Idempotent."""
        self._post("acknowledge", link=link, claim=claim)

    def submit(
        self,
        link: str,
        submission: str,
        *,
        text: str = "",
        files: Sequence[tuple[str, BinaryIO, str]] = (),
    ) -> SubmittedSecret:
        """Submits a secret to a secret request. Another call with the same `submission` changes
        nothing.

        link: the submission link.
        submission: at least 16 random bytes as text.
        files: name, content and media type of each file. The content must be seekable. A deployment
            on AWS Lambda receives large files through S3, and this method encrypts these files.
        """
        if sum(file_size(file) for _, file, _ in files) > LAMBDA_FILES_BYTES_MAX:
            try:
                return self._submit_uploads(link, submission, text, files)
            except UploadsNotSupported:
                pass  # send the files in the request
        fields = {"link": link, "submission": submission, **({"text": text} if text else {})}
        parts = [
            *((name, (None, value)) for name, value in fields.items()),
            *(("file", file) for file in files),
        ]
        return self._decode(
            SubmittedSecret, self._send("POST", "/v1/requests/submit", retryable=True, files=parts)
        )

    def _post(self, action: str, **body: str | int) -> httpx.Response:
        return self._send("POST", f"/v1/links/{action}", retryable=True, json=body)

    def _item(self, body: dict[str, str | int]) -> Iterator[bytes]:
        """Yields the plaintext of an item from the response or from S3. Raises TransferFailed, and
        the errors of `_streamed`.
        """
        with self._streamed("POST", "/v1/links/items", json=body) as reply:
            if not reply.headers.get("content-type", "").startswith("application/json"):
                yield from reply.iter_bytes()
                return
            reply.read()
        download = self._decode(OpenedItemDownload, reply).download
        with self._storage("GET", download.url) as content:
            try:
                yield from decrypt_item(content.iter_bytes(), download.key_base64)
            except DecryptionFailed as exc:
                raise TransferFailed(f"a file cannot be decrypted: {exc}") from exc

    def _submit_uploads(
        self, link: str, submission: str, text: str, files: Sequence[tuple[str, BinaryIO, str]]
    ) -> SubmittedSecret:
        attempt = 1
        while True:
            try:
                return self._submit_uploads_once(link, submission, text, files)
            except SubmissionReceived:
                return SubmittedSecret(submission)
            except (UploadConflict, TransferFailed):
                wait_s = self._retries.wait(attempt, None)
                if wait_s is None:
                    raise
            self._retries.sleep(wait_s)
            attempt += 1

    def _submit_uploads_once(
        self, link: str, submission: str, text: str, files: Sequence[tuple[str, BinaryIO, str]]
    ) -> SubmittedSecret:
        """Encrypts and uploads each file, then submits all files."""
        content_key = os.urandom(KEY_BYTES)
        body: dict[str, Any] = {
            "link": link,
            "submission": submission,
            **({"text": text} if text else {}),
        }
        uploaded: list[dict[str, str | int]] = []
        for number, (name, file, media_type) in enumerate(files, start=1 if text else 0):
            size = file_size(file)
            values = {"link": link, "submission": submission, "number": number, "size": size}
            secret = {"secret": body["secret"]} if "secret" in body else {}
            upload = self._decode(
                UploadView,
                self._send(
                    "POST", "/v1/requests/uploads", retryable=True, json={**values, **secret}
                ),
            )
            body["secret"] = upload.secret
            content = EncryptedFile(file, size, content_key, number)
            with self._storage(
                "POST", upload.url, data=upload.fields, files={"file": content}
            ) as reply:
                version = reply.headers.get("x-amz-version-id", "")
            uploaded.append(
                {"name": name, "media_type": media_type, "size": size, "object_version": version}
            )
        body |= {
            "content_key_base64": base64.b64encode(content_key).decode("ascii"),
            "files": uploaded,
        }
        return self._decode(
            SubmittedSecret,
            self._send("POST", "/v1/requests/submit-uploads", retryable=True, json=body),
        )

    @contextmanager
    def _storage(self, method: str, url: str, **arguments: Any) -> Iterator[httpx.Response]:
        """Returns the response to a presigned request. Raises TransferFailed, whose message
        contains no part of the request.
        """
        try:
            with self._client.stream(method, url, **arguments) as reply:
                if not reply.is_success:
                    raise TransferFailed(
                        f"the storage of the {self._service} returned {reply.status_code}"
                    )
                yield reply
        except httpx.HTTPError as exc:
            raise TransferFailed(
                f"the transfer of a file was interrupted: {type(exc).__name__}"
            ) from exc


def _content(request: dict[str, Any], files: Sequence[BinaryIO]) -> dict[str, Any]:
    """Returns the arguments of a request with the content of a secret: a JSON body, or a form if
    there are files.
    """
    if not files:
        return {"json": request}
    body = (JSON_PART, (None, msgspec.json.encode(request), "application/json"))
    return {"files": [body, *[(FILE_PART, ("file", file)) for file in files]]}


def _if_match(version: int | None) -> dict[str, str]:
    return {"If-Match": "*" if version is None else f'"{version}"'}
