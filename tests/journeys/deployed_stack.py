"""A stack in the emulator with local servers, rotated secrets and a migrated database, under IAM
enforcement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatehouse_policies.program.runner import run

from components import contract
from components.contract import Contract
from sandbox.emulator.server import Emulator
from sandbox.local import lambda_functions, servers, services
from sandbox.local.ecs_task import Aws, Credentials, EcsTask
from sandbox.paths import REPOSITORY
from sandbox.ports import free_port
from tests.sandbox.stack_settings import changed_settings


@dataclass(frozen=True, slots=True)
class DeployedStack:
    emulator: Emulator
    exports: Mapping[str, Any]
    aws: Aws
    contract: Contract
    local: services.LocalServers
    tasks: Mapping[str, EcsTask]

    def environment(self, process: str) -> dict[str, str]:
        return services.task_environment(self.aws, self.tasks[process], self.contract, self.local)


@contextmanager
def deployed_stack(
    stack: str,
    logs: Path,
    settings: Mapping[str, Any] | None = None,
    prepare: Callable[[Emulator], None] | None = None,
) -> Iterator[DeployedStack]:
    """Deploy a stack. settings: changes to the stack file. prepare: called before IAM is
    enforced.
    """
    declared = contract.read(optional_variables=None)
    config = changed_settings(stack, **(settings or {}))
    with Emulator.start() as emulator:
        exports = run(REPOSITORY, stack, emulator, preview=False, config=config).exports
        aws = Aws(emulator.endpoint, str(exports["region"]), Credentials(*emulator.credentials))
        if prepare is not None:
            prepare(emulator)
        with (
            servers.postgres(logs / "postgres.log") as database,
            servers.redis(logs / "redis.log") as redis_url,
        ):
            local = services.LocalServers(
                database, redis_url, {service: free_port() for service in declared.services}
            )
            emulator.permissions.enforce(True)
            lambda_functions.rotate_secrets(aws, exports["rotation"], logs / "rotation.log")
            database.set_password(*services.master_credentials(aws, exports))
            tasks = services.deployed_tasks(aws, exports, declared)
            deployed = DeployedStack(emulator, exports, aws, declared, local, tasks)
            services.migrate(
                tasks["migrate"], deployed.environment("migrate"), logs / "migrate.log"
            )
            yield deployed
