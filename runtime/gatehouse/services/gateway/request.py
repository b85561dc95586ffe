"""A request to the gateway, and the services that the data path uses."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import unquote

import msgspec

from gatehouse.core.cores import DEFAULT_SETTINGS, CoreSettings
from gatehouse.core.decision import failed_check
from gatehouse.core.errors import BadRequest
from gatehouse.core.http.forwarding import CORE_NAME
from gatehouse.core.tokens.token_scanner import has_token
from gatehouse.core.verification import (
    AGENT,
    INVALID_REQUEST,
    NO_CREDENTIAL,
    UNKNOWN_CORE,
    VALID,
    Code,
    VerificationRequest,
    VerificationResult,
)
from gatehouse.features.cores.credentials import Credentials
from gatehouse.features.cores.repository import CoreRegistry
from gatehouse.features.usage.models import RecordedRequest
from gatehouse.features.usage.service import UsageCounter
from gatehouse.features.verification.service import VerificationService
from gatehouse.platform.proxy_headers import CHARGE
from gatehouse.platform.web import problems, responses
from gatehouse.platform.web.pipeline import Pipeline
from gatehouse.platform.web.request import CLIENT_GONE, Refused, Request
from gatehouse.services.gateway.clusters import ClusterFile
from gatehouse.services.gateway.completions import PATH, Completions
from gatehouse.services.gateway.cors import cors_headers
from gatehouse.services.gateway.targets import Targets

#: Maximum number of characters of a path that are logged, and that are searched for a token: more
#: than a token has that begins in the first part and is encoded.
_PATH_CHARS_LOGGED, _PATH_CHARS_SEARCHED = 200, 2048

#: A path that is still percent-encoded after it was decoded this number of times is not logged.
_ENCODINGS_MAX = 2


@dataclass(frozen=True, kw_only=True)
class Dependencies(Pipeline):
    """The pipeline of the gateway, and the services that verifications and requests to Cores use.

    public_host: host of the gateway, with an optional port, as clients know it. Empty if it is not
        configured.
    cores_domain: domain below which each Core has a host name, with an optional port. Empty if
        Cores have no host names.
    completions: requests to Cores that are in progress.
    clusters: writes the clusters of Cores. None in a worker that does not.
    targets: Cores to which requests are forwarded.
    """

    verification: VerificationService
    cores: CoreRegistry
    credentials: Credentials
    public_host: str
    cores_domain: str
    usage: UsageCounter
    completions: Completions
    clusters: ClusterFile | None
    targets: Targets

    @cached_property
    def host_suffix(self) -> bytes:
        """End of the host names of Cores. Empty if Cores have no host names."""
        domain = self.cores_domain.partition(":")[0]
        return f".{domain}".encode() if domain else b""

    def error_response(self, request: Request, refused: Refused) -> responses.Response:
        """An error of a Core can have the form of the OpenAI API."""
        response = super().error_response(request, refused)
        if not isinstance(request, GatewayRequest) or request.settings.error_format != "openai":
            return response
        own = {b"content-length", b"content-type"}
        headers = [field for field in response.raw_headers if field[0] not in own]
        body = responses.encode(problems.openai_members(refused.error, refused.code))
        return responses.Response(
            response.status_code,
            responses.response_headers(body, responses.JSON, headers),
            b"" if request.is_head else body,
        )


class Decision(msgspec.Struct, frozen=True, gc=False):
    """What the usage statistics count. check: the one that failed; empty if the request was
    allowed. method: of the request for which a key was verified.
    """

    code: str
    check: str = ""
    core: str = ""
    key_id: str = ""
    detail: str = ""
    address: str | None = None
    method: str | None = None


class GatewayRequest(Request):
    """A request to the gateway.

    raw_path: empty if the request could not be parsed.
    settings: of the Core that is requested. core: its name, which may be unknown. tls: version of
        TLS of the connection to the proxy, or empty. decision: None until it was made.
    """

    service: Dependencies
    settings: CoreSettings = DEFAULT_SETTINGS
    core = ""

    decision: Decision | None = None
    #: True after the decision was counted, which is final.
    is_counted = False
    #: Code of the response, if it is a problem. The key can be valid.
    problem_code = ""
    #: True if the problem is that no Core has the name.
    is_core_unknown = False
    #: True for a request of the agent of a Core.
    is_agent = False

    def __init__(
        self,
        service: Dependencies,
        method: str,
        target: bytes,
        fields: Sequence[responses.Header],
        body: bytes,
        peer: str,
        tls: str,
    ) -> None:
        path, _, query = target.partition(b"?")
        super().__init__(service, method, path, query, fields, peer)
        self.body, self.tls = body, tls

    def check_head(self) -> None:
        if not self.raw_path:
            raise BadRequest("The request is malformed.")
        super().check_head()

    async def read_body(self, bytes_max: int) -> bytes:
        if len(self.body) > bytes_max:
            raise problems.too_large_error(bytes_max)
        return self.body

    def record(self, seconds: float) -> None:
        """A request that is forwarded is recorded when it has ended (completions.py)."""
        super().record(seconds)
        if not self.is_counted:
            self.count()
        if self.decision is not None and self.decision.code != AGENT:
            self._record(self.decision, seconds)

    def count(self) -> None:
        """Counts the request in the usage statistics, with the final decision on it."""
        self.is_counted, decision = True, self.decision
        is_allowed = decision is None or not decision.check
        if is_allowed and self.template and 400 <= self.status < CLIENT_GONE:
            key_id = self.key_id or ""
            if self.is_core_unknown:
                decision = Decision(UNKNOWN_CORE, "registered core", self.core, key_id)
            else:
                detail = self.problem_code
                decision = Decision(INVALID_REQUEST, "request", self.core, key_id, detail)
            self.decision = decision
        if decision is not None:
            self.service.usage.count(decision.key_id, decision.core, decision.code)

    def _record(self, decision: Decision, seconds: float) -> None:
        code, check, core, key_id = decision.code, decision.check, decision.core, decision.key_id
        kind, usage = (key_id, core, code, check, self.status), self.service.usage
        if usage.represent(kind):
            return
        detail, method, core_s = decision.detail, decision.method, self.core_seconds
        row = RecordedRequest(
            self.service.clock.now() - seconds,
            key_id=key_id,
            core=core if CORE_NAME.fullmatch(core) else "",
            code=code,
            failed_check=check,
            detail=self.logged(detail.encode("latin-1", "replace")) if detail else "",
            method=self.logged_method if method is None else method,
            path=self.logged_path if self.template == PATH else "",
            status=self.status,
            duration_us=round(seconds * 1_000_000),
            core_us=None if core_s is None else round(core_s * 1_000_000),
            address=self.client if decision.address is None else decision.address,
            request_id=self.request_id,
        )
        usage.record(kind, row)

    def problem(self, refused: Refused) -> responses.Response:
        self.problem_code = refused.code or refused.error.code
        return super().problem(refused)

    def record_decision(
        self,
        result: VerificationResult | None,
        request: VerificationRequest,
        core: str | None = None,
    ) -> None:
        """Records the result for the log line (with the ID of a revoked key), the metrics and the
        usage statistics. result: None without a credential.
        """
        if result is None:
            self.decision = Decision(NO_CREDENTIAL, "credential", core or "")
            return
        code, key_id, service = result.code, "", self.service
        if result.record is not None:
            key_id = result.record.id
            if code is not Code.NOT_FOUND:
                self.key_id = key_id
        self.code = code
        service.observer.metrics.decision[code].inc()
        check = detail = ""
        if code is not VALID:
            check, detail = failed_check(result, request, service.verification.environment)
        text = AGENT if self.is_agent and code is VALID else code
        address, method = request.address, request.method
        self.decision = Decision(text, check, core or "", key_id, detail, address, method)

    def log_removed(self, names: Collection[bytes]) -> None:
        """Logs the names of the headers that the Core does not receive."""
        log = self.service.observer.log
        if log.writes("debug"):
            headers = [self.logged(name) for name in names]
            own = {"request_id": self.request_id, "core": self.core}
            log.debug("headers removed", **own, headers=headers)

    @property
    def charge_id(self) -> str:
        """The same when Envoy repeats the request, because its worker was killed."""
        return self.header(CHARGE)

    @property
    def scheme(self) -> str:
        """Scheme that the client used, as reported by trusted proxies."""
        proto = self.values(b"x-forwarded-proto")[-1:]
        is_https = proto == ["https"] and self.service.addresses.trusts(self.peer)
        return "https" if is_https or self.tls else "http"

    @property
    def host_name(self) -> bytes:
        """Host name in lowercase, without a port and without dots at the end."""
        return self.header(b"host").lower().partition(":")[0].rstrip(".").encode("latin-1")

    def use(self, settings: CoreSettings) -> None:
        """Processes the request with the settings of a Core from now on. Responses have the headers
        with which a browser lets pages of the origins read them that the Core declares (Fetch
        Standard, section 3.2.3). Only a listed origin can use credentials of the browser.
        """
        self.settings = settings
        self.response_headers = ()
        if settings.cors_origins:
            origin = ", ".join(self.values(b"origin"))
            self.response_headers = cors_headers(settings.cors_origins, origin)

    @property
    def core_of_host(self) -> str | None:
        """Name of the Core that the header Host specifies, unvalidated. None for another host."""
        suffix = self.service.host_suffix
        host = self.host_name if suffix else b""
        return host.removesuffix(suffix).decode() if suffix and host.endswith(suffix) else None

    @property
    def logged_path(self) -> str:
        if self.raw_path == self.template.encode():
            return self.template
        host = b"" if self.core_of_host is None else b"//" + self.host_name
        return self.logged(host + self.raw_path)

    def logged(self, raw: bytes) -> str:
        """A path or the name of a header, unless it may contain a token: some clients put it there
        by mistake. All environments have tokens with the same prefix.
        """
        path = text = raw[:_PATH_CHARS_SEARCHED].decode("latin-1")
        for _ in range(_ENCODINGS_MAX):
            text = unquote(text) if "%" in text else text
        is_encoded = "%" in text and unquote(text) != text
        if is_encoded or f"{self.service.verification.finder.prefix}_" in text or has_token(text):
            return "(hidden: may contain an API key)"
        return path[:_PATH_CHARS_LOGGED]
