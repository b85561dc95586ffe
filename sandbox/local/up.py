"""`python -m sandbox up`: deploys a stack to the emulator, starts its services, updates or destroys
the stack on request (up_requests.py), and stops the services at the end."""

import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from urllib.parse import quote

from gatehouse.core.errors import SettingsError
from gatehouse.platform.envoy import process
from gatehouse_policies import configuration, policy_check
from gatehouse_policies.engine.environment import of_stack
from gatehouse_policies.processes import analyzer
from gatehouse_policies.processes.messages import Messages
from gatehouse_policies.reports.findings import Run, summary
from pulumi_local.engine.checkpoint import Checkpoint
from pulumi_local.engine.update import destroy, update
from pulumi_local.errors import CommandError
from pulumi_local.files.project import load
from pulumi_local.private_files import write_private
from pulumi_local.types import Deployment

from sandbox.child_processes import Child, failure, raise_file_limit
from sandbox.emulator.server import Emulator
from sandbox.errors import SandboxError
from sandbox.local import collector, log_rotation, servers, services, up_requests
from sandbox.local.changed_settings import SETTINGS, apply_changes
from sandbox.local.ecs_task import Aws, Credentials
from sandbox.local.functions import lambda_functions
from sandbox.local.run_state import RunStateFile
from sandbox.local.samples import FILES, Samples
from sandbox.local.services import LocalServers
from sandbox.local.stack_processes import StackProcesses
from sandbox.paths import HOME, REPOSITORY
from sandbox.ports import DEFAULT_PORTS, Ports
from sandbox.progress import Progress

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class PolicyViolation(Exception):
    """A mandatory rule is violated. The report has been printed."""


class Stopped(BaseException):
    """SIGINT or SIGTERM was received. Not an Exception, so that no handler swallows it."""


@dataclass(frozen=True)
class Endpoints:
    """The content of `up.json`, written when every service is ready. aws: environment variables of
    an AWS client that may do everything.
    """

    stack: str
    pid: int
    gateway: str
    console: str
    sharing: str
    emulator: str
    aws: Mapping[str, str]
    admin_token: str


def up(stack: str, *, changes: Sequence[str] = (), home: Path = HOME) -> int:
    """Run until Ctrl-C or SIGTERM. Returns 0, or 1 if a mandatory rule is violated. Raises
    SandboxError for other failures.

    changes: settings such as "image.digest=sha256:...".
    """
    raise_file_limit()
    try:
        process.program()
    except SettingsError as missing:
        raise SandboxError(f"{missing.public}.") from None
    progress = Progress()
    try:
        with ExitStack() as cleanup:
            # From here on a signal raises Stopped, and the exit stack stops everything in reverse
            # order.
            cleanup.enter_context(_stop_on_signals())
            state = RunStateFile(home)
            stopped = state.claim(stack)
            cleanup.callback(state.clear)
            environment = _Environment(stack, state, home / "logs", cleanup, progress)
            environment.start(changes, stopped)
            environment.serve_requests()
    except PolicyViolation:
        return 1
    except Stopped:
        progress.step("Stopped. No process is left running.")
    return 0


@dataclass(slots=True)
class Deployed:
    """The running part of a deployed stack."""

    processes: StackProcesses
    samples: Samples

    def check(self) -> None:
        """Raise SandboxError if a process has exited. The sample Core may: it can be drained, and
        its key revoked.
        """
        for child in self.processes.children:
            if child.process.poll() is not None:
                raise failure(child, f"exited with code {child.process.returncode}")


class _Environment:
    """The stages of `up`. Each stage registers the cleanup of its processes before the next stage
    can fail.

    The emulator runs until the end. The other processes are stopped when the stack is destroyed.
    """

    def __init__(
        self, stack: str, state: RunStateFile, logs: Path, cleanup: ExitStack, progress: Progress
    ) -> None:
        self._stack = stack
        self._state = state
        self._logs = logs
        self._cleanup = cleanup.enter_context(ExitStack())
        self._progress = progress
        self._ports = Ports()
        cleanup.callback(self._ports.close)
        self._checkpoint = Checkpoint()
        self._outer = cleanup
        self._emulator: Emulator | None = None
        self._deployed: Deployed | None = None
        self._roles: tuple[str, ...] = ()

    def start(self, changes: Sequence[str], stopped: Sequence[str]) -> None:
        self._progress.title(f"Starting Gatehouse, stack {self._stack}, with empty data stores")
        if stopped:
            self._progress.warn(f"stopped processes from an earlier run: {', '.join(stopped)}")
        shutil.rmtree(self._logs, ignore_errors=True)
        self._logs.mkdir(parents=True)
        self._outer.enter_context(log_rotation.rotating(self._logs))
        self._start(changes)

    def serve_requests(self) -> None:
        """Update or destroy the stack on request, until a signal. Raises SandboxError if a process
        exits.
        """
        tick = threading.Event()
        while True:
            if self._deployed is not None:
                self._deployed.check()
            if (request := up_requests.take(self._state.home)) is not None:
                self._serve(request)
            tick.wait(0.5)

    def _serve(self, request: up_requests.Request) -> None:
        code = 2
        self._progress.step(f"Request of another process: {request.action}")
        with request.output(self._state.home).open("a") as output, redirect_stdout(output):
            try:
                if request.action == "destroy":
                    self._destroy()
                elif self._deployed is None:
                    self._start(request.changes)
                else:
                    self._update(request.changes, self._deployed)
                code = 0
            except PolicyViolation:
                code = 1
            except CommandError as problem:
                print(f"error: {problem.message}")
        up_requests.complete(self._state.home, request, code)

    def _start(self, changes: Sequence[str]) -> None:
        progress = self._progress
        emulator, deployment = self._deploy(changes)
        exports = deployment.exports
        local = self._start_servers()
        aws = Aws(emulator.endpoint, str(exports["region"]), Credentials(*emulator.credentials))
        self._cleanup.callback(lambda: self._write_permissions(emulator))
        local.database.set_password(*services.master_credentials(aws, exports))
        progress.done("password of the database owner, which RDS manages")
        processes = StackProcesses(
            aws, local, self._logs, progress, claim_port=self._port, register=self._register
        )
        processes.apply(exports)
        samples = Samples(self._state.tokens, self._logs, progress, self._register)
        provider = samples.start_provider(processes.local.url("console"), processes.token)
        self._cleanup.callback(provider.stop)
        self._cleanup.callback(shutil.rmtree, self._state.tokens, ignore_errors=True)
        if "probe" in exports:
            progress.step("Running the deployed synthetic probe with its role")
            urls = lambda_functions.run_probe(
                aws, exports["probe"], processes.local, self._logs / "probe.log"
            )
            progress.done(f"requested {', '.join(urls.values())}")
            progress.done("verified the canary key, and sent a request with it to a Core")
        samples.deploy(provider, processes.local)
        self._deployed = Deployed(processes, samples)
        endpoints = self._endpoints(processes, emulator)
        self._print_summary(endpoints, emulator, samples)
        # Written last, because `up --detach` prints this output until the file exists.
        self._write_endpoints(endpoints)

    def _update(self, changes: Sequence[str], deployed: "Deployed") -> None:
        """Update the stack, and restart the processes whose definition or code changed, one after
        the other.
        """
        progress = self._progress
        progress.title(f"Updating Gatehouse, stack {self._stack}")
        emulator, deployment = self._deploy(changes)
        processes = deployed.processes
        restarted = processes.apply(deployment.exports)
        self._write_endpoints(self._endpoints(processes, emulator))
        provider = deployed.samples.start_provider(processes.local.url("console"), processes.token)
        deployed.samples.deploy(provider, processes.local)
        progress.title(
            f"Gatehouse is updated. Restarted services: {', '.join(restarted) or 'none'}."
        )

    def _endpoints(self, processes: StackProcesses, emulator: Emulator) -> Endpoints:
        urls = {name: processes.local.url(name) for name in ("gateway", "console", "sharing")}
        return Endpoints(
            self._stack,
            os.getpid(),
            **urls,
            emulator=emulator.endpoint,
            aws=processes.aws.operator.environment()
            | {"AWS_ENDPOINT_URL": emulator.endpoint, "AWS_REGION": processes.aws.region},
            admin_token=processes.token,
        )

    def _write_endpoints(self, endpoints: Endpoints) -> None:
        write_private(self._state.home / "up.json", json.dumps(asdict(endpoints), indent=2))

    def _destroy(self) -> None:
        """Stop the services and delete the resources. The emulator continues without resources."""
        progress = self._progress
        progress.title(f"Destroying the stack {self._stack}")
        protected = [
            item.registration.urn
            for item in self._checkpoint.resources
            if item.registration.protect
        ]
        if self._deployed is not None and not protected:
            progress.step("Stopping the services, PostgreSQL and Redis")
            self._deployed = None
            (self._state.home / "up.json").unlink(missing_ok=True)
            self._cleanup.close()
        if self._emulator is not None:
            destroy(self._emulator, self._checkpoint, progress.change)
        progress.title(
            "The stack is destroyed. Deploy it again: make up. Stop the emulator: make down"
        )

    def _port(self, name: str) -> int:
        """Claim the port of a service or the emulator, right before its use."""
        port = self._ports.claim(DEFAULT_PORTS[name])
        if port != DEFAULT_PORTS[name]:
            self._progress.warn(f"port {DEFAULT_PORTS[name]} is in use: {name} listens on {port}")
        return port

    def _deploy(self, changes: Sequence[str]) -> tuple[Emulator, Deployment]:
        """Deploy the stack or update it, and check the deployment before its services start."""
        progress, stack = self._progress, self._stack
        project = load(REPOSITORY, stack)
        config = {SETTINGS: apply_changes(project.config.get(SETTINGS, "{}"), changes)}
        rules = configuration.read(REPOSITORY / configuration.FILE_NAME).rules
        environment = of_stack(project.name, project.stack, project.config)
        with analyzer.packs(
            policy_check.PACKS, project, environment, changes=rules[environment]
        ) as packs:
            progress.step("Deploying to the AWS emulator")
            if self._emulator is None:
                self._emulator = Emulator.start(self._port("emulator"))
                self._outer.callback(self._emulator.stop)
                # Otherwise another user of this machine could create credentials.
                self._emulator.permissions.enforce(True)
                # The emulator stops last, after the services that use it.
                self._cleanup = self._outer.enter_context(ExitStack())
            emulator = self._emulator
            deployment = update(
                REPOSITORY, stack, emulator, self._checkpoint, report=progress.change, config=config
            )
            exports = deployment.exports
            functions = (exports[name]["role"] for name in ("rotation", "probe") if name in exports)
            self._roles = (*exports["roles"].values(), *functions)
            progress.done(f"{progress.summary()} at {emulator.endpoint}")
            progress.step("Checking policies against the deployment")
            self._check(packs, deployment)
        return emulator, deployment

    def _check(self, packs: Sequence[analyzer.Pack], deployment: Deployment) -> None:
        findings = policy_check.findings(packs, Messages.of(deployment), "known")
        run = Run(deployment.stack, len(deployment.resources))
        result = policy_check.CheckResult(findings, run)
        show = self._progress.fail if result.exit_code else self._progress.done
        show(summary(findings, run))
        if result.exit_code:
            policy_check.show(result)
            action = "not started" if self._deployed is None else "not restarted"
            self._progress.warn(
                f"The services are {action}, because a mandatory rule is violated. Correct the "
                f"violations."
            )
            raise PolicyViolation

    def _start_servers(self) -> LocalServers:
        """Start the servers that replace services of AWS. The services of the stack have no port
        yet.
        """
        self._progress.step("Starting PostgreSQL and Redis instead of RDS and ElastiCache")
        database = self._cleanup.enter_context(servers.postgres(self._logs / "postgres.log"))
        redis_url = self._cleanup.enter_context(servers.redis(self._logs / "redis.log"))
        self._progress.done(f"PostgreSQL on port {database.port}, Redis")
        traces_url = self._cleanup.enter_context(collector.write_traces(self._logs / "traces.log"))
        self._progress.done(
            f"collector of traces, which writes each span to {self._logs / 'traces.log'}"
        )
        return LocalServers(database, redis_url, {}, traces_url, self._logs)

    def _register(self, child: Child) -> Child:
        self._cleanup.callback(child.stop)
        self._state.add(child.name, child.pid)
        return child

    def _write_permissions(self, emulator: Emulator) -> None:
        """Write the granted, used and unused actions of each role of the processes to
        permissions.json.
        """
        rows = {}
        for role in sorted({arn.rpartition("/")[2] for arn in self._roles}):
            granted = emulator.permissions.granted_actions(role)
            used = emulator.permissions.used_actions.get(role, set())
            rows[role] = {
                "granted": sorted(granted),
                "used": sorted(used),
                "unused": sorted(granted - used),
            }
        report = {
            "roles": rows,
            "denied": emulator.permissions.denied,
            "unevaluated_conditions": emulator.permissions.unevaluated_conditions,
        }
        (self._state.home / "permissions.json").write_text(json.dumps(report, indent=2))

    def _print_summary(self, endpoints: Endpoints, emulator: Emulator, samples: Samples) -> None:
        progress = self._progress
        if modelled := emulator.modelled:
            progress.step(f"Resources that are validated but not created ({len(modelled)})")
            progress.plain("\n".join(f"      {line}" for line in modelled))
        if conditions := emulator.permissions.unevaluated_conditions:
            file = _relative(self._state.home / "permissions.json")
            progress.step(f"IAM conditions that are not evaluated: {len(conditions)}, see {file}")
        progress.plain()
        progress.title(f"Gatehouse is ready after {progress.elapsed_s():.0f} s.")
        for name, value in {
            "gateway": endpoints.gateway,
            "console": endpoints.console,
            "sharing": endpoints.sharing,
            "AWS": endpoints.emulator,
            "admin token": endpoints.admin_token,
        }.items():
            progress.plain(f"  {name:<12} {value}")
        console, token = endpoints.console, endpoints.admin_token
        # The link works once and for a few minutes.
        link = console + services.call_console(console, token, "/v1/sign-in-links")["path"]
        progress.plain()
        progress.title(
            "Open the web UI of the console with this link. It works once, within five minutes:"
        )
        progress.plain(f"  {link}")
        progress.plain()
        progress.title("Create a key, list the files of the Core with the key, and read a file:")
        progress.plain("\n".join(f"  {line}" for line in _commands(endpoints.gateway, samples)))
        progress.plain()
        progress.plain(
            f"  Logs: tail -f {_relative(self._logs / 'gateway.log')}      Stop: Ctrl-C or "
            f"make down"
        )


def _commands(gateway: str, samples: Samples) -> list[str]:
    token = "python3 -c 'import json,sys; print(json.load(sys.stdin)[\"token\"])'"  # noqa: S105  a command, not a token
    files = sorted(
        path for path in FILES.rglob("*") if path.is_file() and not path.name.startswith(".")
    )
    url = f"{gateway}/cores/{samples.core}/files"
    return [
        # The command reads the admin token from .gatehouse/up.json: other users of the machine can
        # read command lines.
        f"KEY=$(.venv/bin/gatehouse keys create --name my-first-key --customer "
        f"{samples.customer} --core {samples.core} --json | {token})",
        f'curl -sS {url} -H "Authorization: Bearer $KEY"',
        f'curl -sS {url}/{quote(files[0].relative_to(FILES).as_posix())} -H "Authorization: '
        f'Bearer $KEY"',
    ]


def _stop(_number: int, _frame: FrameType | None) -> None:
    # A second Ctrl-C must not interrupt the cleanup.
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise Stopped


@contextmanager
def _stop_on_signals() -> Iterator[None]:
    originals = {number: signal.signal(number, _stop) for number in _STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in originals.items():
            signal.signal(number, handler)


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
