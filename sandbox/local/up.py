"""`python -m sandbox up`: from nothing to a running Gatehouse, in the order of a real deployment, and back.

Policy packs on a preview, deployment, packs on what was deployed, first secrets, migration, doors, sample Core.
"""

import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import quote

from policies.reports.findings import Run
from sandbox import child_processes
from sandbox.checks import policy_check
from sandbox.emulator.server import Emulator
from sandbox.engine import analyzer
from sandbox.engine.program import run
from sandbox.engine.project import load
from sandbox.engine.providers import UnknownCloud
from sandbox.engine.types import Deployment
from sandbox.errors import SandboxError
from sandbox.local import lambda_service, probe, rotation, sample_core, servers, services
from sandbox.local.ecs_task import Aws, Contract, Credentials
from sandbox.local.ports import Ports
from sandbox.local.progress import Progress
from sandbox.local.run_state import Journal
from sandbox.paths import HOME, REPOSITORY, write_private

_CONTRACT = REPOSITORY / "runtime" / "contract.toml"
PORTS = {"gateway": 8080, "console": 8081, "sharing": 8082, "emulator": 5555}
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Violated(Exception):
    """A mandatory rule was broken; the table is already shown."""


class Stopped(BaseException):
    """SIGINT or SIGTERM arrived: leave, stopping everything on the way out.

    Not an Exception, so that nothing swallows it.
    """


@dataclass(frozen=True, slots=True)
class Running:
    """What `up.json` holds once every door is ready."""

    stack: str
    pid: int
    gateway: str
    console: str
    share: str
    emulator: str
    admin_token: str


def up(stack: str, *, home: Path = HOME, progress: Progress | None = None) -> int:
    """Run until Ctrl-C or SIGTERM; return 0 then, 1 when a mandatory rule is broken.

    Raises SandboxError when it cannot run.
    """
    progress = progress or Progress()
    try:
        with ExitStack() as cleanup:
            # From here on a signal raises: the exit stack then stops what was started, in reverse order.
            cleanup.callback(_on_signals())
            journal = Journal(home)
            swept = journal.claim(stack)
            cleanup.callback(journal.clear)
            children = _Starter(journal, home / "logs", cleanup, progress).bring_up(stack, swept)
            _watch(children)
    except Violated:
        return 1
    except Stopped:
        progress.step("Stopped. Nothing is left running.")
    return 0


class _Starter:
    """The stages of one `up`. Whatever a stage starts is registered for cleanup before the next thing can fail."""

    def __init__(self, journal: Journal, logs: Path, cleanup: ExitStack, progress: Progress) -> None:
        self._journal = journal
        self._logs = logs
        self._cleanup = cleanup
        self._progress = progress
        self._ports = Ports()
        cleanup.callback(self._ports.close)
        self._contract = Contract.read(_CONTRACT)

    def bring_up(self, stack: str, swept: Sequence[str]) -> list[child_processes.Child]:
        say = self._progress
        say.title(f"Gatehouse up, stack {stack}. It starts clean: nothing of an earlier run is kept.")
        if swept:
            say.warn(f"an earlier run was not stopped; ended what it left behind: {', '.join(swept)}")
        shutil.rmtree(self._logs, ignore_errors=True)
        self._logs.mkdir(parents=True)
        emulator, deployment = self._deploy(stack)
        self._contract = Contract.read(_CONTRACT, apart=deployment.exports["functions"])
        place = self._servers()
        aws = Aws(emulator.endpoint, str(deployment.exports["region"]), Credentials(*emulator.credentials, ""))
        children, token = self._runtime(aws, emulator, deployment, place)
        children.append(self._core(place, token))
        running = Running(
            stack, os.getpid(), place.url("gateway"), place.url("console"), place.url("sharing"), emulator.endpoint, token
        )
        self._epilogue(running, emulator)
        # Last, when everything is said: `up --detach` shows what we print until this file is there.
        write_private(self._journal.home / "up.json", json.dumps(_document(running), indent=2))
        return children

    def _port(self, name: str) -> int:
        """The port of a door or of the emulator, asked for just before its use: others take ports too."""
        port = self._ports.claim(PORTS[name])
        if port != PORTS[name]:
            self._progress.warn(f"port {PORTS[name]} is taken: {name} listens on {port}")
        return port

    def _deploy(self, stack: str) -> tuple[Emulator, Deployment]:
        """Both packs on a preview, the deployment itself, both packs on its result."""
        say = self._progress
        project = load(REPOSITORY, stack)
        with analyzer.packs(policy_check.PACKS, project, stack) as packs:
            for pack in packs:
                self._journal.add(f"policy pack {pack.name}", pack.pid)
            say.step("Policy packs on a preview (outputs unknown)")
            preview = run(REPOSITORY, stack, UnknownCloud(), preview=True)
            self._judge(packs, preview, "unknown")
            say.step("Deploying to the AWS emulator")
            emulator = Emulator.start(self._port("emulator"))
            self._cleanup.callback(emulator.stop)
            deployment = run(REPOSITORY, stack, emulator, preview=False, on_resource=say.resource)
            say.done(f"{say.resources} resources at {emulator.endpoint}")
            say.step("Policy packs on what was deployed (outputs known)")
            self._judge(packs, deployment, "known")
        return emulator, deployment

    def _judge(self, packs: Sequence[analyzer.Pack], deployment: Deployment, name: str) -> None:
        checked = policy_check.Checked(
            policy_check.findings(packs, deployment, name), Run(deployment.stack, len(deployment.resources))
        )
        for pack in packs:
            line = policy_check.summary(pack, checked.findings, deployment)
            (self._progress.bad if policy_check.stops(pack, checked.findings) else self._progress.done)(line)
        if checked.exit_code:
            policy_check.show(checked)
            self._progress.warn("Stopped here: a mandatory rule is broken.")
            raise Violated

    def _servers(self) -> services.Place:
        self._progress.step("PostgreSQL and Redis, in place of RDS and ElastiCache")
        database = self._cleanup.enter_context(servers.postgres(self._logs / "postgres.log", self._note))
        redis_url = self._cleanup.enter_context(servers.redis(self._logs / "redis.log", self._note))
        self._progress.done(f"PostgreSQL on port {database.port}, Redis")
        ports = {door: self._port(door) for door in self._contract.ports}
        return services.Place(database, redis_url, ports)

    def _runtime(
        self, aws: Aws, emulator: Emulator, deployment: Deployment, place: services.Place
    ) -> tuple[list[child_processes.Child], str]:
        """First secrets, migration, doors; from here on, every call is checked against the caller's IAM role."""
        say, exports = self._progress, deployment.exports
        roles = [*exports["roles"].values(), *(exports[name]["role"] for name in ("rotation", "probe") if name in exports)]
        self._cleanup.callback(lambda: self._permissions(emulator, roles))
        emulator.enforce_iam(True)
        say.step("First secret values, by the deployed rotation function with its own role")
        base = services.base_environment(aws)
        rotation.first_values(aws, exports["rotation"], base, self._logs / "rotation.log")
        user, password = services.master_password(aws, exports)
        place.database.set_password(user, password)
        say.done(f"{', '.join(exports['rotation']['secrets'])}; the database owner's password is the one that RDS manages")
        tasks = services.tasks(aws, exports, self._contract)
        say.step("Migration, as a task of its own")
        migrate = tasks.pop("migrate")
        env = services.environment(aws, migrate, self._contract, place)
        services.migrate(migrate, env, self._logs / "migrate.log")
        say.done("database schema is current")
        say.step("The runtime, from the deployed task definitions, with IAM enforced")
        children, token = [], ""
        for name, wanted in tasks.items():
            env = services.environment(aws, wanted, self._contract, place)
            token = env.get("GATEHOUSE_BOOTSTRAP_TOKEN", token)
            children.append(self._child(services.serve(wanted, env, self._logs / f"{name}.log")))
        for child in children:
            services.wait_ready(child, self._contract, place)
            doors = ", ".join(f"{door} at {place.url(door)}" for door in self._contract.doors[child.name])
            say.done(f"{' '.join(tasks[child.name].command)}: {doors}")
        for door in exports["functions"]:
            children += self._function(aws, exports, door, place)
        if "probe" in exports:
            say.step("The doors asked from outside, by the deployed probe with its own role")
            asked = probe.beat(aws, exports["probe"], place, base, self._logs / "probe.log")
            say.done(f"{', '.join(asked.values())}: each answer is counted")
        return children, token.strip()

    def _function(self, aws: Aws, exports: Mapping[str, Any], door: str, place: services.Place) -> list[child_processes.Child]:
        """A door that a function serves: what its host name leads to, and the function's own command."""
        wanted = lambda_service.read(aws, exports, door)
        pair = lambda_service.start(aws, wanted, door=place.ports[door], runtime=self._ports.claim(), logs=self._logs)
        children = [self._child(child) for child in pair]
        lambda_service.wait_ready(children, place.url(door))
        self._progress.done(f"{' '.join(wanted.command)}: {door} at {place.url(door)}, behind its API")
        return children

    def _core(self, place: services.Place, token: str) -> child_processes.Child:
        self._progress.step("A sample Core, registered with a key of its own")
        gateway = place.url("gateway")
        # It may read its own files too: that is how we see, through the gateway, that it is there.
        key = sample_core.issue_key(place.url("console"), token, "sample-core", ["cores:register", "cores:read"])
        child = self._child(sample_core.start(gateway, key, self._logs / "core.log"))
        sample_core.wait_ready(child, gateway, {"Authorization": f"Bearer {key}"})
        self._progress.done(f"{sample_core.NAME} serves {sample_core.folder().relative_to(REPOSITORY.parent)}")
        return child

    def _child(self, child: child_processes.Child) -> child_processes.Child:
        self._cleanup.callback(child.stop)
        self._journal.add(child.name, child.pid)
        return child

    def _note(self, name: str, pid: int, folder: Path) -> None:
        self._journal.add(name, pid)
        self._journal.add_folder(folder)

    def _permissions(self, emulator: Emulator, roles: Sequence[str]) -> None:
        """Keep what each role may do and what it was seen to do, for whoever wants to take away what nothing used."""
        rows = {}
        for role in sorted({arn.rpartition("/")[2] for arn in roles}):
            granted, used = emulator.permissions.granted_actions(role), emulator.used_actions.get(role, set())
            rows[role] = {"granted": sorted(granted), "used": sorted(used), "unused": sorted(granted - used)}
        report = {"roles": rows, "refused": emulator.permissions.denied, "stripped": emulator.stripped_conditions}
        (self._journal.home / "permissions.json").write_text(json.dumps(report, indent=2))

    def _epilogue(self, running: Running, emulator: Emulator) -> None:
        say = self._progress
        if emulator.modelled:
            say.step(f"Modelled, not created ({len(emulator.modelled)})")
            for line in emulator.modelled:
                say.plain(f"      {line}")
        if emulator.stripped_conditions:
            say.step(
                f"IAM conditions that the emulator cannot evaluate, {len(emulator.stripped_conditions)} uses; "
                "the tests read them as documents"
            )
            for line in emulator.stripped_conditions:
                say.plain(f"      {line}")
        say.plain()
        say.title(f"Gatehouse is up after {say.elapsed_s():.0f} s.")
        for name, url in (
            ("gateway", running.gateway),
            ("console", running.console),
            ("sharing", running.share),
            ("AWS", running.emulator),
        ):
            say.plain(f"  {name:<8} {url}")
        say.plain(f"  admin    {running.admin_token}")
        say.plain()
        say.title("Try it: make a key, list the Core's files with it, read one")
        for line in _commands(running):
            say.plain(f"  {line}")
        say.plain()
        say.plain(f"  logs: tail -f {_relative(self._logs / 'gateway.log')}      to stop: Ctrl-C, or make down")


def _document(running: Running) -> dict[str, str | int]:
    return {
        "stack": running.stack,
        "pid": running.pid,
        "gateway": running.gateway,
        "console": running.console,
        "sharing": running.share,
        "emulator": running.emulator,
        "admin_token": running.admin_token,
    }


def _commands(running: Running) -> list[str]:
    """Three lines that work when pasted one after the other."""
    body = json.dumps({"name": "my-first-key", "owner": "me", "scopes": ["cores:read"], "cores": [sample_core.NAME]})
    pick = "python3 -c 'import json,sys; print(json.load(sys.stdin)[\"token\"])'"
    files = sorted(path for path in sample_core.folder().rglob("*") if path.is_file() and not path.name.startswith("."))
    sample = quote(files[0].relative_to(sample_core.folder()).as_posix()) if files else ""
    return [
        f"KEY=$(curl -sS {running.console}/v1/keys -H 'Authorization: Bearer {running.admin_token}' "
        f"-H 'Content-Type: application/json' -d '{body}' | {pick})",
        f'curl -sS {running.gateway}/cores/{sample_core.NAME}/files -H "Authorization: Bearer $KEY"',
        f'curl -sS {running.gateway}/cores/{sample_core.NAME}/files/{sample} -H "Authorization: Bearer $KEY"',
    ]


def _watch(children: list[child_processes.Child]) -> None:
    """Stay until a signal; raises SandboxError when a part ends by itself."""
    tick = threading.Event()
    while True:
        for child in children:
            if child.process.poll() is not None:
                code = child.process.returncode
                raise SandboxError(f"{child.name} ended by itself with code {code}. Its last lines:\n{child.tail()}")
        tick.wait(0.5)


def _stop(_number: int, _frame: FrameType | None) -> None:
    # A second Ctrl-C must not break off the cleanup.
    for number in _ENDINGS:
        signal.signal(number, signal.SIG_IGN)
    raise Stopped


def _on_signals() -> Callable[[], None]:
    before = {number: signal.signal(number, _stop) for number in _ENDINGS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    return restore


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
