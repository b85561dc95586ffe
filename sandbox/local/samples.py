"""Samples for the web UI and the first commands: deploys examples/keys-as-code to the console, and
starts the Core that it declares.
"""

from collections.abc import Callable
from pathlib import Path

from pulumi_local.engine.checkpoint import Checkpoint
from pulumi_local.engine.plugin import ProviderPlugin
from pulumi_local.engine.update import update
from pulumi_local.errors import CommandError
from pulumi_local.private_files import private_folder
from pulumi_local.types import Resource

from sandbox import child_processes
from sandbox.child_processes import Child
from sandbox.errors import SandboxError
from sandbox.local import services
from sandbox.local.services import LocalServers
from sandbox.paths import REPOSITORY
from sandbox.progress import Progress

FILES = REPOSITORY / "examples" / "core-files"
"""The files that the sample Core serves."""
_PROGRAM, _STACK, _PACKAGE = REPOSITORY / "examples" / "keys-as-code", "local", "gatehouse"


class Samples:
    """The resources of the program, and the Core.

    tokens: the folder for tokens. register: called with each process that is started.
    """

    def __init__(
        self, tokens: Path, logs: Path, progress: Progress, register: Callable[[Child], Child]
    ) -> None:
        self._agent: Child | None = None
        self._tokens, self._logs = tokens, logs
        self._progress = progress
        self._register = register
        self._checkpoint = Checkpoint()
        self._core_token = ""

    @property
    def core(self) -> str:
        """Name of the Core."""
        return str(self._resource("Core").outputs["name"])

    @property
    def customer(self) -> str:
        """ID of a customer."""
        return self._resource("Customer").id

    def start_provider(self, console: str, admin_token: str) -> ProviderPlugin:
        """Start the provider, without waiting for it."""
        environment = {"GATEHOUSE_CONSOLE_URL": console, "GATEHOUSE_ADMIN_TOKEN": admin_token}
        return ProviderPlugin.start(
            _PACKAGE,
            env={**child_processes.plain_environment(), **environment},
            folder=private_folder(self._tokens),
            log=self._logs / "samples.log",
        )

    def deploy(self, provider: ProviderPlugin, local: LocalServers) -> None:
        """Deploy the program, or update its resources, and start the Core if it has a new token.
        Stops the provider. Raises SandboxError.
        """
        example = _PROGRAM.relative_to(REPOSITORY)
        self._progress.step(f"Deploying samples to the console: {example}, stack {_STACK}")
        try:
            provider.refresh(self._checkpoint)
            update(_PROGRAM, _STACK, provider, self._checkpoint, report=self._progress.change)
        except CommandError as error:
            raise SandboxError(f"{example}: {error.message}") from None
        finally:
            provider.stop()
        self._progress.done(self._progress.summary())
        token = self._token("Core")
        if token != self._core_token:
            self._start_core(local.url("gateway"), token)

    def _start_core(self, gateway: str, token: str) -> None:
        """Start `gatehouse core`, and wait for its registration. The token is passed in the
        environment, since arguments are visible to every user.
        """
        self._progress.step("Starting a sample Core")
        if self._agent is not None:
            self._agent.stop()
        command = ["gatehouse", "core", "--dir", str(FILES), "--gateway", gateway]
        env = {**child_processes.plain_environment(), "GATEHOUSE_CORE_TOKEN": token}
        log = self._logs / "core.log"
        self._agent = self._register(
            child_processes.start("core", [*command, "--name", self.core], env=env, log=log)
        )
        url, customer = f"{gateway}/cores/{self.core}/files", self._token("Key")

        def is_ready() -> bool:
            # Before a gateway worker knows the registration, the status is 404. That of a key which
            # somebody has disabled, or whose limit is reached, is another one.
            if b"registered" not in log.read_bytes():
                return False
            status = services.status_of(url, {"Authorization": f"Bearer {customer}"})
            return status is not None and status < 500 and status != 404

        child_processes.wait_until(self._agent, is_ready, "registered with the gateway", 20.0)
        self._core_token = token
        self._progress.done(f"{self.core} serves {FILES.relative_to(REPOSITORY)}")

    def _token(self, kind: str) -> str:
        file = str(self._resource(kind).outputs["destination"]["file"])
        return (self._tokens / file).read_text()

    def _resource(self, kind: str) -> Resource:
        """The first resource of a class. Raises SandboxError if the program declares none."""
        token = f"{_PACKAGE}:index:{kind}"
        for resource in self._checkpoint.resources:
            if resource.registration.type == token:
                return resource
        raise SandboxError(f"{_PROGRAM.relative_to(REPOSITORY)} declares no {kind}.")
