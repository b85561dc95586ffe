"""Runs a Pulumi program for one stack with a provider of this distribution or of the caller,
without the Pulumi CLI.
"""

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
from concurrent.futures import Executor
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple, Unpack

import pulumi
from google.protobuf import empty_pb2
from pulumi.runtime import Settings, configure, run_in_stack, set_all_config

from pulumi_local.aws_location import region_variables
from pulumi_local.environment_calls import recorded_calls
from pulumi_local.errors import CommandError
from pulumi_local.files.project import Project, load
from pulumi_local.files.unknown_config import unknown_config
from pulumi_local.monitor import Monitor
from pulumi_local.outputs.lenient_apply import ApplyError, lenient_apply
from pulumi_local.outputs.lookup_decisions import Lookups, lookups_in_program
from pulumi_local.source_lines import is_library, short_traces, source_line
from pulumi_local.types import Deployment, Provider, Resource

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

ORGANIZATION = "organization"
"""The result of `pulumi.get_organization()` with a local backend."""

_OWN_PACKAGE = __name__.partition(".")[0]
_MONITOR = str(Path(__file__).with_name("monitor.py"))
_LOG = logging.getLogger(__name__)
_SINGLE_RUN = threading.Lock()
# Iterations of the event loop without a change, after which the program waits for something else.
_SETTLED = 50
SOURCE_PREFIX = re.compile(r"[^\s:]+:\d+: ")


def run(
    program: Path,
    stack: str,
    provider: Provider,
    *,
    preview: bool,
    on_resource: Callable[[Resource], None] | None = None,
    config: Mapping[str, str] | None = None,
    examples: Mapping[str, Any] | None = None,
    on_apply_error: Callable[[str, CommandError], None] | None = None,
    on_failure: Callable[[CommandError], bool] = lambda _error: False,
) -> Deployment:
    """Run a program and return its deployment.

    program: folder with Pulumi.yaml and Pulumi.<stack>.yaml. preview: empty IDs and `UNKNOWN`
    outputs stay unknown, as in a first `pulumi preview`. on_resource: called for each resource,
    including components, in order of creation. config: values that replace values of the stack
    file, keyed by full key. examples: see `load`; unknown values need a preview. on_apply_error:
    called with a URN and the exception of a function of `apply`, whose result is then unknown.
    on_failure: called if the program fails; True to return the resources up to there.

    Restores the working directory, `sys.path` and `sys.modules`. Raises CommandError with the file
    and line of the program.
    """
    project = load(program, stack, examples=examples)
    if config:
        project = replace(project, config={**project.config, **config})
    lookups = Lookups(project.root)
    monitor = Monitor(project, provider, on_resource, lookups, preview=preview)
    on_error = _located(on_apply_error, project) if on_apply_error is not None else None
    with (
        _SINGLE_RUN,
        _program_environment(project),
        unknown_config(project, lookups),
        lenient_apply(on_error),
        lookups_in_program(lookups),
        recorded_calls(project.root) as calls,
        short_traces(project.root),
        no_collection(),
    ):
        try:
            _run_in_thread(project, monitor, preview)
        except CommandError as error:
            if not on_failure(error):
                raise
    return Deployment(
        project.name,
        stack,
        monitor.created,
        monitor.exports,
        preview,
        tuple(calls),
        tuple(lookups.decisions),
    )


def _located(report: Callable[[str, CommandError], None], project: Project) -> ApplyError:
    return lambda urn, error: report(urn, _error(error, None, project))


def _run_in_thread(project: Project, monitor: Monitor, preview: bool) -> None:
    """Run the program in a thread, in whose stack the frames of the caller are not."""
    raised: list[BaseException] = []

    def target() -> None:
        try:
            # Pulumi keeps its settings in context variables: an empty context hides the settings of
            # earlier runs.
            contextvars.Context().run(_run, project, monitor, preview)
        except BaseException as exc:
            raised.append(exc)

    # Ctrl-C ends the wait and the process, and not the program.
    thread = threading.Thread(target=target, name="program", daemon=True)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def _run(project: Project, monitor: Monitor, preview: bool) -> None:
    loop = _EventLoop()
    asyncio.set_event_loop(loop)
    # A failed run leaves futures with unread exceptions, which the event loop would log when they
    # are garbage-collected.
    loop.set_exception_handler(lambda _loop, _context: None)
    raised: list[BaseException] = []
    try:
        loop.run_until_complete(_program(project, monitor, preview, raised))
    except (Exception, SystemExit) as exc:
        raise _error(raised[0] if raised else exc, monitor.failure, project) from None
    finally:
        _drain(loop)
        loop.close()
        asyncio.set_event_loop(None)


class _EventLoop(asyncio.SelectorEventLoop):
    """Calls the monitor in the thread of the program, as `Monitor` does not wait for the event
    loop.

    Registrations reach the provider in the same order in every run, and none of them wakes up
    another thread.
    """

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[_Ts]], _T], *args: *_Ts
    ) -> asyncio.Future[_T]:
        if func.__module__ != "pulumi.runtime._context":
            return super().run_in_executor(executor, func, *args)
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as exc:
            future.set_exception(exc)
        return future


async def _program(
    project: Project, monitor: Monitor, preview: bool, raised: list[BaseException]
) -> None:
    set_all_config(dict(project.config), [])
    # As the language host does (pulumi-language-python-exec).
    settings = Settings(
        project=project.name,
        stack=project.stack,
        monitor=monitor,
        engine=_Engine(),
        dry_run=preview,
        organization=ORGANIZATION,
        root_directory=str(project.root),
    )
    configure(settings)
    _locate_errors(settings, monitor, project)
    await run_in_stack(lambda: _execute(settings, project, raised))


class _Engine:
    def Log(self, request: Any) -> None:
        # Severities are 0 (debug) to 3 (error).
        _LOG.log(logging.DEBUG + 10 * request.severity, request.message)

    def RequirePulumiVersion(self, _request: Any) -> Any:
        return empty_pb2.Empty()


def _locate_errors(settings: Settings, monitor: Monitor, project: Project) -> None:
    """Adds the line of the program to errors from provider functions, whose requests have no stack
    trace. `rpc_manager` is private: without it, the errors have no line.
    """
    manager: Any = getattr(settings, "rpc_manager", None)
    do_rpc = getattr(manager, "do_rpc", None)
    if do_rpc is None:
        return

    def located_rpc(name: str, function: Callable[..., Awaitable[Any]]) -> Any:
        where = _caller(project) if name == "invoke" else ""

        async def located(*args: Any, **kwargs: Any) -> Any:
            try:
                return await function(*args, **kwargs)
            except CommandError as exc:
                if where and not SOURCE_PREFIX.match(exc.message):
                    monitor.failure = CommandError(f"{where}: {exc.message}")
                raise

        return do_rpc(name, located)

    manager.do_rpc = located_rpc


def _caller(project: Project) -> str:
    # The frames above `_run` are those of the caller.
    frames = takewhile(lambda row: row[0].f_code is not _run.__code__, traceback.walk_stack(None))
    lines = (
        source_line(frame.f_code.co_filename, number, project.root) for frame, number in frames
    )
    return next((line for line in lines if line), "")


def _execute(settings: Settings, project: Project, raised: list[BaseException]) -> Awaitable[None]:
    """Run the code of the program and store its exception, because the SDK raises the exception of
    a failed request instead. The SDK awaits the result.
    """
    # Run the file, not its folder: for a folder, Python caches the bytecode and does not detect a
    # change that is made within the same second and does not change the file's length.
    file = project.program / "__main__.py" if project.program.is_dir() else project.program
    try:
        runpy.run_path(str(file), run_name="__main__")
    except BaseException as exc:
        raised.append(exc)
        raise
    return _settle(settings)


async def _settle(settings: Settings) -> None:
    """Run the event loop while outputs become known. The SDK, which then waits for the others,
    passes all outputs to `asyncio.wait` again after each one that becomes known. The collection of
    outputs is private: without it, the SDK waits for all of them.
    """
    unchanged, before = 0, -1
    while unchanged < _SETTLED:
        await asyncio.sleep(0)
        outputs = len(getattr(settings, "outputs", ()))
        unchanged, before = (unchanged + 1 if outputs == before else 0), outputs


def _drain(loop: asyncio.AbstractEventLoop) -> None:
    pending = asyncio.all_tasks(loop)
    for task in pending:
        task.cancel()
    if pending:
        loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())


@contextlib.contextmanager
def _program_environment(project: Project) -> Iterator[None]:
    """Set the working directory, `sys.path`, `sys.argv`, `sys.modules` and the variables of the
    Region for the program, and restore them and all variables.
    """
    folder = _folder(project)
    if not (project.program / "__main__.py").is_file() and not project.program.is_file():
        raise CommandError(
            f"{folder.name}/ has no __main__.py, the entry point of the program. Add it, or "
            f"set `main` in Pulumi.yaml."
        )
    before_folder, before_path, before_arguments = Path.cwd(), list(sys.path), list(sys.argv)
    before_variables = dict(os.environ)
    hidden = _hide_modules(folder)
    before_modules = set(sys.modules)
    sys.path.insert(0, str(folder))
    sys.argv = [str(project.program)]
    os.environ |= region_variables(project.config)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before_folder)
        for name in os.environ.keys() - before_variables.keys():
            del os.environ[name]
        os.environ |= before_variables
        sys.path[:], sys.argv = before_path, before_arguments
        _hide_modules(folder)
        _remove_modules(before_modules)
        sys.modules.update(hidden)


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Disable garbage collection, which traverses the millions of objects in pulumi-aws. Reentrant.

    Measured with the prod stack in the emulator: 8 s of CPU time instead of 16 s.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _hide_modules(folder: Path) -> dict[str, Any]:
    """Remove modules from `sys.modules` that shadow modules of the program, and return them."""
    names = {path.stem for path in folder.glob("*.py")} | {
        path.name for path in folder.iterdir() if path.is_dir()
    }
    names -= {"__main__", _OWN_PACKAGE}
    # A copy, because threads of the previous run can still import modules.
    shadowing = {
        name
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in names and not _is_library(module)
    }
    return {name: sys.modules.pop(name) for name in shadowing}


def _remove_modules(before: set[str]) -> None:
    """Remove the modules that the program imported, wherever their files are, so that the next run
    executes them again.

    A module in a folder that several programs share can create resources when it is imported.
    """
    # The path of a namespace package is read from its parent, so that all modules are selected
    # before the first is removed.
    imported = [
        name
        for name, module in list(sys.modules.items())
        if name not in before
        and name.partition(".")[0] != _OWN_PACKAGE
        and _is_program_module(module)
    ]
    for name in imported:
        sys.modules.pop(name, None)


def _is_program_module(module: Any) -> bool:
    """True for a module with source files outside the libraries. A package without `__init__.py`
    has a path but no file.
    """
    locations = [getattr(module, "__file__", None) or "", *getattr(module, "__path__", ())]
    return any(locations) and not any(is_library(str(path)) for path in locations)


def _is_library(module: Any) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and is_library(file)


def _error(exc: BaseException, failure: CommandError | None, project: Project) -> CommandError:
    """A one-line error: file and line of the program, type and text of the exception.

    failure: the first error in a registration or invoke, of which `exc` may be a consequence.
    """
    if failure is None and isinstance(exc, CommandError):
        failure = exc
    if failure is not None and SOURCE_PREFIX.match(failure.message):
        return failure
    if failure is None and isinstance(exc, SyntaxError) and exc.filename:
        where = source_line(exc.filename, exc.lineno or 0, project.root) or exc.filename
        return CommandError(f"{where}: SyntaxError: {exc.msg}")
    text = _text(exc, project) if failure is None else failure.message
    return CommandError(f"{_source_prefix(exc, project)}{text}")


def _text(exc: BaseException, project: Project) -> str:
    text = " ".join(str(exc).split()) or "no message"
    if isinstance(exc, SystemExit):
        return f"the program exited with status {exc.code}."
    if isinstance(exc, pulumi.RunError):
        return text
    if isinstance(exc, ModuleNotFoundError) and exc.name:
        files = [folder / "requirements.txt" for folder in (_folder(project), project.root)]
        requirements = next((file for file in files if file.is_file()), None)
        package = re.sub("[-_]", ".", exc.name.partition(".")[0])
        if requirements and not re.search(package, requirements.read_text("utf-8"), re.IGNORECASE):
            text += (
                f". The program has no file with this name, and {requirements} no package. If a "
                f"package with another name contains it, install the packages: {sys.executable} -m "
                f"pip install -r {requirements}"
            )
        elif requirements:
            text += (
                f". Install the packages of the program in the environment of the check: "
                f"{sys.executable} -m pip install -r {requirements}"
            )
        else:
            # A module and the package that contains it can have different names, and the name of
            # the module can belong to another package.
            text += (
                f". Install the package that contains it, which can have another name, in the "
                f"environment of the check ({sys.executable})"
            )
    return f"{type(exc).__name__}: {text}"


def _folder(project: Project) -> Path:
    return project.program if project.program.is_dir() else project.program.parent


def _source_prefix(exc: BaseException, project: Project) -> str:
    """`components/bucket.py:88: ` for the innermost frame of the program; otherwise the name of the
    project.
    """
    current: BaseException | None = exc
    visited: set[int] = set()
    while current is not None and id(current) not in visited:
        line = ""
        for frame, number in traceback.walk_tb(current.__traceback__):
            if frame.f_code.co_filename == _MONITOR:
                break  # the frames below are those of the provider
            line = source_line(frame.f_code.co_filename, number, project.root) or line
        if line:
            return f"{line}: "
        visited.add(id(current))
        current = current.__cause__ or current.__context__
    return f"{project.name}: "
