"""Runs an unchanged Pulumi program for one stack against a cloud of our own, without the Pulumi CLI."""

import asyncio
import contextlib
import contextvars
import gc
import logging
import os
import re
import runpy
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime import set_all_config, set_mocks
from pulumi.runtime.rpc_manager import RPCManager
from pulumi.runtime.settings import SETTINGS, set_root_resource
from pulumi.runtime.stack import run_in_stack

from sandbox.engine.monitor import Monitor, place
from sandbox.engine.project import Project, load
from sandbox.engine.types import Cloud, Deployment, Resource
from sandbox.errors import SandboxError

ORGANIZATION = "organization"
"""What `pulumi.get_organization()` answers for a local backend."""

_OWN_ROOT = Path(__file__).resolve().parents[2]
_OWN_PACKAGES = frozenset({"sandbox", "policies", "tests", "conftest"})
_LOG = logging.getLogger("sandbox.program")
_ONE_RUN_AT_A_TIME = threading.Lock()
_PLACE = re.compile(r"[^\s:]+:\d+: ")


def run(
    program: Path,
    stack: str,
    cloud: Cloud,
    *,
    preview: bool,
    on_resource: Callable[[Resource], None] | None = None,
    config: Mapping[str, str] | None = None,
) -> Deployment:
    """Run the program in the folder `program` (with Pulumi.yaml and Pulumi.<stack>.yaml) and return what it made.

    With `preview`, an empty id and `UNKNOWN` outputs stay unknown downstream, as in a first `pulumi preview`.
    `on_resource` is called after each resource, components included, in order of creation. `config` replaces values of the
    stack file, by their whole key.

    Raises SandboxError with one message that names the program's file and line. The working directory, `sys.path` and
    the imported modules are as before when it returns, so that it can be called again.
    """
    project = load(program, stack)
    if config:
        project = replace(project, config={**project.config, **config})
    monitor = Monitor(project, cloud, on_resource)
    with _ONE_RUN_AT_A_TIME, _program_environment(project), no_collection():
        # An empty context: Pulumi keeps its settings in context variables, so nothing of an earlier run is seen.
        contextvars.Context().run(_run, project, monitor, preview)
    return Deployment(project.name, stack, monitor.made, monitor.exports, preview)


def _run(project: Project, monitor: Monitor, preview: bool) -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    # A failed run leaves futures that nobody reads; without this, the loop logs each of them whenever it is collected.
    loop.set_exception_handler(lambda _loop, _context: None)
    # One worker: registrations reach the cloud one after the other, in an order that is the same in every run.
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sandbox-engine")
    loop.set_default_executor(executor)
    raised: list[BaseException] = []
    try:
        loop.run_until_complete(_program(project, monitor, preview, raised))
    except (Exception, SystemExit) as exc:
        raise _explained(raised[0] if raised else exc, monitor.failure, project) from None
    finally:
        _drain(loop)
        executor.shutdown(wait=True)
        loop.close()
        asyncio.set_event_loop(None)


async def _program(project: Project, monitor: Monitor, preview: bool, raised: list[BaseException]) -> None:
    set_all_config(dict(project.config), [])
    set_mocks(
        monitor.mocks,
        project=project.name,
        stack=project.stack,
        preview=preview,
        logger=_LOG,
        monitor=monitor,
        organization=ORGANIZATION,
    )
    settings: Any = SETTINGS
    settings.outputs, settings.lock, settings.package_refs = set(), threading.Lock(), {}
    settings.rpc_manager = _Requests(monitor, project)
    settings.root_directory = str(project.root)
    # `set_mocks` makes a root resource of its own and closes it; `run_in_stack` makes the real one, with its exports.
    set_root_resource(None)  # type: ignore[arg-type]
    await run_in_stack(lambda: _execute(project, raised))


class _Requests(RPCManager):
    """Remembers where the program called a provider function: a request for one does not say, unlike a registration."""

    def __init__(self, monitor: Monitor, project: Project) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._monitor = monitor
        self._project = project

    def do_rpc(self, name: str, rpc_function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        where = self._caller() if name == "invoke" else ""

        async def located(*args: Any, **kwargs: Any) -> Any:
            try:
                return await rpc_function(*args, **kwargs)
            except SandboxError as exc:
                if where and not _PLACE.match(exc.message):
                    self._monitor.failure = SandboxError(f"{where}: {exc.message}")
                raise

        return super().do_rpc(name, located)

    def _caller(self) -> str:
        frames = traceback.walk_stack(None)
        lines = (place(frame.f_code.co_filename, number, self._project.root) for frame, number in frames)
        return next((line for line in lines if line), "")


def _execute(project: Project, raised: list[BaseException]) -> None:
    """Run the program's own code; keep what it raises, because the SDK reports a failed request in its place."""
    # The file and not its folder: of a folder Python keeps the compiled form, and takes it for a program that was changed within
    # the same second to another one of the same length.
    file = project.program / "__main__.py" if project.program.is_dir() else project.program
    try:
        runpy.run_path(str(file), run_name="__main__")
    except BaseException as exc:
        raised.append(exc)
        raise


def _drain(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what a failed run left behind, so that nothing of it wakes up later."""
    pending = asyncio.all_tasks(loop)
    for task in pending:
        task.cancel()
    if pending:
        loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())


@contextlib.contextmanager
def _program_environment(project: Project) -> Iterator[None]:
    """The folder, path, arguments and modules a program expects; restored afterwards."""
    folder = project.program if project.program.is_dir() else project.program.parent
    if not (project.program / "__main__.py").is_file() and not project.program.is_file():
        raise SandboxError(f"{folder.name}/ has no __main__.py. A Pulumi program in Python starts there.")
    before_folder, before_path, before_arguments = Path.cwd(), list(sys.path), list(sys.argv)
    hidden = _hide_modules(folder)
    sys.path.insert(0, str(folder))
    sys.argv = [str(project.program)]
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before_folder)
        sys.path[:], sys.argv = before_path, before_arguments
        _hide_modules(folder)
        sys.modules.update(hidden)


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """No garbage collection during a run: it would walk the millions of objects of pulumi-aws again and again. Nests.

    Measured on the prod stack in the emulator: 8 s of processor time instead of 16 s.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _hide_modules(folder: Path) -> dict[str, Any]:
    """Take out of `sys.modules` what the program would import from its own folder; return it for putting back."""
    names = {path.stem for path in folder.glob("*.py")} | {path.name for path in folder.iterdir() if path.is_dir()}
    names -= {"__main__"}
    if folder.is_relative_to(_OWN_ROOT):
        names -= _OWN_PACKAGES
    found = {name for name in sys.modules if name.partition(".")[0] in names and not _is_library(sys.modules[name])}
    return {name: sys.modules.pop(name) for name in found}


def _is_library(module: Any) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and ("site-packages" in Path(file).parts or file.startswith(str(Path(os.__file__).parent)))


def _explained(exc: BaseException, failure: SandboxError | None, project: Project) -> SandboxError:
    """One line: the program's own file and line, the exception, its text.

    failure: the first error of a registration or an invoke; `exc` may be only what followed from it.
    """
    if failure is None and isinstance(exc, SandboxError):
        failure = exc
    if failure is not None:
        return failure if _PLACE.match(failure.message) else SandboxError(f"{_line(exc, project)}{failure.message}")
    text = " ".join(str(exc).split()) or "no message"
    if isinstance(exc, SystemExit):
        return SandboxError(f"{_line(exc, project)}the program ended itself with exit status {exc.code}.")
    if isinstance(exc, SyntaxError) and exc.filename:
        where = place(exc.filename, exc.lineno or 0, project.root) or exc.filename
        return SandboxError(f"{where}: SyntaxError: {exc.msg}")
    if isinstance(exc, pulumi.RunError):
        return SandboxError(f"{_line(exc, project)}{text}")
    return SandboxError(f"{_line(exc, project)}{type(exc).__name__}: {text}")


def _line(exc: BaseException, project: Project) -> str:
    """`components/bucket.py:88: ` of the innermost frame that belongs to the program; "" when there is none."""
    current: BaseException | None = exc
    visited: set[int] = set()
    while current is not None and id(current) not in visited:
        for frame, number in reversed(list(traceback.walk_tb(current.__traceback__))):
            where = place(frame.f_code.co_filename, number, project.root)
            if where:
                return f"{where}: "
        visited.add(id(current))
        current = current.__cause__ or current.__context__
    return f"{project.name}: "
