"""Starts the processes of a deployed stack, and restarts those that an update of the stack
changes.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from components import contract
from sandbox import child_processes
from sandbox.child_processes import Child
from sandbox.local import services
from sandbox.local.ecs_task import Aws, EcsTask
from sandbox.local.functions import lambda_functions
from sandbox.local.functions.lambda_functions import LambdaService
from sandbox.local.services import LocalServers
from sandbox.paths import REPOSITORY
from sandbox.progress import Progress

MIGRATE = "migrate"
_CODE = REPOSITORY / "runtime" / "gatehouse"


class StackProcesses:
    """The processes of the ECS services, the functions behind API Gateway, and the migration task.

    local: the servers, with the port of each service that runs. token: the credential of the first
    administrator; "" before a process starts that has one.
    """

    def __init__(
        self,
        aws: Aws,
        local: LocalServers,
        logs: Path,
        progress: Progress,
        *,
        claim_port: Callable[[str], int],
        register: Callable[[Child], Child],
    ) -> None:
        """claim_port: returns a free port for a service. register: called with each process that
        is started.
        """
        self.local = local
        self.token = ""
        self.aws = aws
        self._logs = logs
        self._progress = progress
        self._claim_port = claim_port
        self._register = register
        self._contract = contract.read(optional_variables=None)
        self._tasks: dict[str, EcsTask] = {}
        self._functions: dict[str, LambdaService] = {}
        self._children: dict[str, Child] = {}
        self._rotated: set[str] = set()
        self._code = ""

    @property
    def children(self) -> list[Child]:
        return list(self._children.values())

    def apply(self, exports: Mapping[str, Any]) -> list[str]:
        """Start the processes of the stack, after the migration, and stop those that it no longer
        has.

        A process whose definition and code did not change continues. Returns the names of the
        processes that were started. Raises SandboxError if a process does not start.
        """
        self._contract = contract.read(functions=exports["functions"], optional_variables=None)
        tasks = services.deployed_tasks(self.aws, exports, self._contract)
        functions = {
            name: lambda_functions.read(self.aws, exports, name) for name in exports["functions"]
        }
        self._create_secrets(exports)
        ports = {
            name: self._claim_port(name)
            for name in (*self._contract.services, *functions)
            if name not in self.local.ports
        }
        self.local = replace(self.local, ports={**self.local.ports, **ports})
        if (code := code_digest()) != self._code:
            # The checkout replaces the image, so its content is a part of each definition.
            self._tasks, self._functions, self._code = {}, {}, code
        changed_tasks = [name for name, task in tasks.items() if task != self._tasks.get(name)]
        changed_functions = [
            name for name, function in functions.items() if function != self._functions.get(name)
        ]
        if MIGRATE in changed_tasks:
            self._migrate(tasks[MIGRATE])
        # A service can move between a task and a function: its port is released before the other
        # process starts.
        running = {*(name for name in tasks if name != MIGRATE), *map(_key, functions)}
        self._stop(name for name in list(self._children) if name not in running)
        started = [name for name in changed_tasks if name != MIGRATE]
        self._start_tasks({name: tasks[name] for name in started})
        for name in changed_functions:
            self._start_function(name, functions[name])
        self._tasks, self._functions = tasks, functions
        return [*started, *map(_key, changed_functions)]

    def _create_secrets(self, exports: Mapping[str, Any]) -> None:
        """Create the values of new secrets, which Secrets Manager does on AWS when it creates the
        rotation of a secret.
        """
        rotation = exports["rotation"]
        new = {kind: arn for kind, arn in rotation["secrets"].items() if arn not in self._rotated}
        if new:
            self._progress.step(
                "Creating secret values with the deployed rotation function and its role"
            )
            lambda_functions.rotate_secrets(
                self.aws, {**rotation, "secrets": new}, self._logs / "rotation.log"
            )
            self._rotated |= set(new.values())
            self._progress.done(", ".join(new))

    def _migrate(self, task: EcsTask) -> None:
        self._progress.step("Migrating the database with the deployed migration task")
        services.migrate(task, self._environment(task), self._logs / "migrate.log")
        self._progress.done("database schema is up to date")

    def _start_tasks(self, tasks: Mapping[str, EcsTask]) -> None:
        """Start the tasks at the same time, or restart those that run one after the other."""
        new = {name: task for name, task in tasks.items() if name not in self._children}
        if new:
            self._progress.step(
                "Starting the services of the deployed task definitions, with IAM enforced"
            )
        for name, task in new.items():
            self._start_task(name, task)
        for name, task in new.items():
            self._wait_ready(name, task)
        for name in tasks.keys() - new.keys():
            self._progress.step(f"Restarting {name}")
            self._stop([name])
            self._start_task(name, tasks[name])
            self._wait_ready(name, tasks[name])

    def _start_task(self, name: str, task: EcsTask) -> None:
        env = self._environment(task)
        self.token = env.get("GATEHOUSE_BOOTSTRAP_TOKEN", self.token).strip()
        child = child_processes.start(name, task.command, env=env, log=self._logs / f"{name}.log")
        self._children[name] = self._register(child)

    def _wait_ready(self, name: str, task: EcsTask) -> None:
        provided = self._contract.processes[name].services
        for service in provided:
            url = self.local.url(service.name)
            services.wait_ready(self._children[name], url + service.ready)
        urls = ", ".join(f"{each.name} at {self.local.url(each.name)}" for each in provided)
        self._progress.done(f"{' '.join(task.command)}: {urls}")

    def _start_function(self, service: str, function: LambdaService) -> None:
        name = _key(service)
        if name in self._children:
            self._progress.step(f"Restarting the {name}")
            self._stop([name])
        started = lambda_functions.start(
            self.aws, function, port=self.local.ports[service], logs=self._logs
        )
        self._children[name] = self._register(started)
        url = self.local.url(service)
        services.wait_ready(started, f"{url}/readyz")
        self._progress.done(f"{' '.join(function.command)}: {service} at {url}, behind API Gateway")

    def _stop(self, names: Iterable[str]) -> None:
        for name in names:
            self._children.pop(name).stop()

    def _environment(self, task: EcsTask) -> dict[str, str]:
        return services.task_environment(self.aws, task, self._contract, self.local)


def code_digest(folder: Path = _CODE) -> str:
    """The hash of the code that the processes run, as the digest of an image is on AWS."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _key(service: str) -> str:
    """The name of the processes of a function, which differs from that of a task."""
    return f"{service} function"
