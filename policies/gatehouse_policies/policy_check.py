"""`gatehouse-policies check`: runs policy packs on a program (with unknown and known outputs) or on
an exported stack.
"""

import dataclasses
import gc
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from gatehouse_policies import catalogue
from gatehouse_policies.analysis.type_tokens import AWS_PROVIDER
from gatehouse_policies.configuration import Configuration
from gatehouse_policies.engine.meta_policies import UNDECIDED
from gatehouse_policies.errors import CheckError
from gatehouse_policies.files import private_folder, write_private
from gatehouse_policies.program import analyzer, invented, stack_import
from gatehouse_policies.program.analyzer import Pack
from gatehouse_policies.program.aws_location import AwsLocation
from gatehouse_policies.program.invented import without_invented
from gatehouse_policies.program.project import Project, load
from gatehouse_policies.program.providers import FakeProvider, PreviewProvider
from gatehouse_policies.program.runner import SOURCE_PREFIX, no_collection, run
from gatehouse_policies.program.source_lines import repository_of
from gatehouse_policies.program.types import ACCOUNT, Deployment, Registration
from gatehouse_policies.reports import sarif, table
from gatehouse_policies.reports.findings import (
    PASSES,
    Finding,
    LevelChange,
    Run,
    exit_code,
    from_diagnostic,
    merge,
    still_undecided,
    type_of,
)
from gatehouse_policies.reports.junit import junit
from gatehouse_policies.reports.markdown import markdown

PACKS: Final = tuple(catalogue.PACKS_FOLDER / name for name in catalogue.PACKS)
FORMATS: Final[Mapping[str, Callable[[Sequence[Finding], Run], str]]] = {
    "txt": table.text,
    "sarif": lambda findings, run: json.dumps(sarif.document(findings, run), indent=2) + "\n",
    "xml": junit,
    "md": markdown,
}
"""Reports, keyed by the suffix of their file."""
_COLUMNS_MAX: Final = 120
_FOLDER: Final = ".gatehouse"
_LARGE: Final = 1000
"""Number of resources above which a garbage collection (0.3 s for each thousand resources) is
worthwhile.
"""
_IGNORE_EXEMPTIONS: Final = "GATEHOUSE_IGNORE_EXEMPTIONS"
_PROVIDER_MAJOR: Final = "7"
EXPORT_HINT: Final = "pulumi stack export --file state.json, and --state state.json"
_DEFAULTS: Final = Configuration()


@dataclass(frozen=True)
class CheckResult:
    """The findings of a check, and the parameters and statistics of the run."""

    findings: list[Finding]
    run: Run

    @property
    def exit_code(self) -> int:
        return exit_code(self.findings, self.run)

    def text(self, suffix: str) -> str:
        return FORMATS[suffix](self.findings, self.run)


def check(
    program: Path,
    stack: str,
    *,
    levels: str = "",
    folders: Sequence[Path] = PACKS,
    variables: Mapping[str, str] | None = None,
    configuration: Configuration = _DEFAULTS,
    fail_on_undecided: bool = False,
) -> CheckResult:
    """Check a program with policy packs. Raises CheckError if the program or a pack cannot run.

    levels: environment whose levels apply, by default the environment of the stack.
    variables: result of `exemptions`.
    configuration: Regions, tags, levels and example values of the program's repository.
    fail_on_undecided: the exit code is 3 if only undecided results remain.
    """
    started_at = time.monotonic()
    _require_provider_version()
    project = load(program, stack, examples=configuration.stack_config)
    # The packs check one pass in separate processes while the program runs for the next pass.
    with (
        no_collection(),
        _packs(folders, project, levels, variables, configuration) as (environment, packs),
        ThreadPoolExecutor(max_workers=1) as executor,
    ):
        checks: list[tuple[Deployment, Future[list[Finding]]]] = []
        faked_functions: set[str] = set()
        failed: list[Finding] = []
        account = invented.ACCOUNT
        for name in PASSES:
            if checks and len(checks[-1][0].resources) > _LARGE:
                # A run leaves about 250 unreachable objects for each resource. The next run can
                # reuse this memory.
                gc.collect()
            applied: list[tuple[str, CheckError]] = []
            try:
                deployment = _run_pass(
                    name,
                    account,
                    program,
                    stack,
                    configuration.stack_config,
                    faked_functions,
                    applied,
                )
            except CheckError as error:
                if not checks:
                    raise
                # The results of the first run are not lost.
                failed.append(_failed(name, "", "", "the run with known outputs failed", error))
                break
            sources = {
                resource.registration.urn: resource.registration.source
                for resource in deployment.resources
            }
            failed += [
                _failed(name, urn, sources.get(urn, ""), "the result of apply is unknown", error)
                for urn, error in applied
            ]
            account = _account(deployment)
            judged = without_invented(deployment)
            checks.append((deployment, executor.submit(findings, packs, judged, name)))
        found = [finding for _, future in checks for finding in future.result()]
        last, _ = checks[-1]
        decided = {last.stack_urn, *(resource.registration.urn for resource in last.resources)}
        merged = merge([*found, *failed], decided if len(checks) == len(PASSES) else ())
    run_of_check = Run(
        environment,
        max(len(deployment.resources) for deployment, _ in checks),
        time.monotonic() - started_at,
        _root(program),
        invented=tuple(sorted(token.rpartition(":")[2] for token in faked_functions)),
        unknown=project.unknown,
        fail_on_undecided=fail_on_undecided,
    )
    return _result(merged, run_of_check, checks[-1][0], packs, variables, configuration)


@contextmanager
def _packs(
    folders: Sequence[Path],
    project: Project,
    levels: str,
    variables: Mapping[str, str] | None,
    configuration: Configuration,
) -> Iterator[tuple[str, tuple[Pack, ...]]]:
    """The environment whose levels apply, and the running packs. Raises CheckError if the
    configuration changes a rule that no pack has.
    """
    environment = levels or project.environment
    changes = configuration.rules.get(environment, {})
    with analyzer.packs(folders, project, environment, variables, changes) as packs:
        yield environment, packs
        for id in changes:
            if not any(id in pack.levels for pack in packs) and catalogue.find(id) is None:
                raise CheckError(
                    f"{configuration.name}: no pack has the rule {id}. Add the pack with --pack "
                    f"DIR, or correct the ID."
                )


# Fake results have the types and names of the schema, but other values than real results.
_ERROR_OF_PROGRAM = re.compile(
    r": (Type|Attribute|Name|UnboundLocal|Import|ModuleNotFound|Syntax|Indentation)Error\b"
)


def _account(deployment: Deployment) -> str:
    """The account of a provider that does not set allowedAccountIds: that of all other providers
    of the program. It is invented if they have several.
    """
    accounts = {
        AwsLocation.of(resource.registration.inputs).account
        for resource in deployment.resources
        if resource.registration.type == AWS_PROVIDER
    }
    declared = accounts - {ACCOUNT}
    if not declared:
        return ACCOUNT
    return declared.pop() if len(declared) == 1 else invented.ACCOUNT


def _run_pass(
    name: str,
    account: str,
    program: Path,
    stack: str,
    examples: Mapping[str, Any],
    faked_functions: set[str],
    applied: list[tuple[str, CheckError]],
) -> Deployment:
    """Run the program for one pass.

    account: the account of a provider that does not set allowedAccountIds.
    applied: receives the errors of functions of `apply` with fake values, for example because they
        decode them. A preview calls no function with a computed value, so that its errors are those
        of the program or of fake results of provider functions.
    """

    def run_with(provider: FakeProvider | PreviewProvider, *, lenient: bool) -> Deployment:
        # Both passes are previews, because exports of other stacks, encrypted configuration values
        # and the outputs of other providers are unknown in both, and values are unknown in a
        # preview only.
        on_error = (lambda *error: applied.append(error)) if lenient else None
        return run(
            program, stack, provider, preview=True, examples=examples, on_apply_error=on_error
        )

    provider_class = PreviewProvider if name == PASSES[0] else FakeProvider
    provider = provider_class(account)
    try:
        return run_with(provider, lenient=name != PASSES[0])
    except CheckError as error:
        if not provider.faked_functions:
            raise
        try:
            return run_with(provider_class(account), lenient=True)
        except CheckError:
            if _ERROR_OF_PROGRAM.search(error.message):
                raise error from None
            functions = ", ".join(
                sorted(token.rpartition(":")[2] for token in provider.faked_functions)
            )
            note = (
                f"The results of {functions} are not real in a check; read them with the "
                f"output form, such as get_zone_output"
            )
            raise CheckError(f"{error.message} {note}.") from None
    finally:
        faked_functions |= provider.faked_functions


def _failed(pass_name: str, urn: str, source: str, consequence: str, error: CheckError) -> Finding:
    """The undecided result of a function or a run that fails with fake values.

    source: the line that declares the resource, for an error without a line.
    """
    location = SOURCE_PREFIX.match(error.message)
    return _undecided(
        urn,
        f"{consequence}: {error.message.removesuffix('.')}",
        f"use a value that is known at preview, or check the deployed stack: {EXPORT_HINT}",
        pass_name,
        location[0].removesuffix(": ") if location else source,
    )


def check_state(
    file: Path,
    *,
    levels: str = "",
    folders: Sequence[Path] = PACKS,
    variables: Mapping[str, str] | None = None,
    configuration: Configuration = _DEFAULTS,
    fail_on_undecided: bool = False,
) -> CheckResult:
    """Check an exported stack. Raises CheckError if the file is invalid or a pack cannot run."""
    started_at = time.monotonic()
    project, deployment = stack_import.read(file)
    with _packs(folders, project, levels, variables, configuration) as (environment, packs):
        merged = findings(packs, deployment, "state")
    duration = time.monotonic() - started_at
    run_of_check = Run(
        environment,
        len(deployment.resources),
        duration,
        file=file.name,
        fail_on_undecided=fail_on_undecided,
    )
    return _result(merged, run_of_check, deployment, packs, variables, configuration)


def _result(
    findings: list[Finding],
    run_of_check: Run,
    deployment: Deployment,
    packs: Sequence[Pack],
    variables: Mapping[str, str] | None,
    configuration: Configuration,
) -> CheckResult:
    complete = dataclasses.replace(
        run_of_check,
        audit=_IGNORE_EXEMPTIONS in (variables or {}),
        without_rules=_types_without_rules(deployment),
        configuration=configuration.name,
        stack=deployment.stack,
        pack_seconds={catalogue.PACKS.get(pack.title, pack.title): pack.seconds for pack in packs},
        level_changes=_level_changes(run_of_check.environment, packs, configuration),
    )
    return CheckResult(findings, complete)


def _level_changes(
    environment: str, packs: Sequence[Pack], configuration: Configuration
) -> tuple[LevelChange, ...]:
    """The levels that the configuration file sets, of the controls of all packs."""
    changes = []
    for id, values in sorted(configuration.rules.get(environment, {}).items()):
        level, control = values.get("enforcementLevel", ""), catalogue.find(id)
        default = control.level(environment).value if control else ""
        pack = next((pack for pack in packs if id in pack.levels), None)
        if pack is not None and level and level != default:
            name = catalogue.PACKS.get(pack.title, pack.title)
            reason = configuration.reasons.get(environment, {}).get(id, "")
            changes.append(LevelChange(id, name, level, default, configuration.name, reason))
    return tuple(changes)


def _require_provider_version() -> None:
    """Raises CheckError if a program has replaced pulumi-aws by a version whose types the rules do
    not know.
    """
    installed = version("pulumi-aws")
    if installed.partition(".")[0] != _PROVIDER_MAJOR:
        raise CheckError(
            f"The rules support pulumi-aws {_PROVIDER_MAJOR}, but {installed} is installed in "
            f"{sys.prefix}. "
            f"Install pulumi-aws {_PROVIDER_MAJOR}, or check the deployed stack: {EXPORT_HINT}."
        )


def _types_without_rules(deployment: Deployment) -> dict[str, int]:
    """The number of resources of each type that no rule of the two packs evaluates. Resources that
    are only read do not count.
    """
    evaluated = {type for rule in catalogue.RULES for type in rule.types}
    managed = (
        item.registration
        for item in deployment.resources
        if item.registration.custom and not item.registration.external
    )
    types = (item.type for item in managed if not item.type.startswith("pulumi:"))
    counts = Counter(type for type in types if type not in evaluated)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def exemptions(file: Path | None, ignore: bool) -> dict[str, str]:
    """Environment variables with which the packs read another exemptions file or ignore exemptions.
    Raises CheckError if the file does not exist."""
    if ignore:
        return {_IGNORE_EXEMPTIONS: "1"}
    if file is None:
        return {}
    if not file.is_file():
        raise CheckError(
            f"The file {file} does not exist. Specify a file with [[exemption]] entries: "
            f"--exemptions FILE"
        )
    return {"GATEHOUSE_EXEMPTIONS": str(file.resolve())}


def findings(packs: Sequence[Pack], deployment: Deployment, pass_name: str) -> list[Finding]:
    """The findings of the packs for a deployment, most severe first."""
    registrations = {
        resource.registration.urn: resource.registration for resource in deployment.resources
    }
    diagnostics = analyzer.analyze(packs, deployment)
    levels = {pack.title: pack.levels for pack in packs}  # complete after the packs have answered
    rows = (
        finding if pass_name == PASSES[0] else still_undecided(finding, levels.get(row.pack, {}))
        for row in diagnostics
        for finding in from_diagnostic(
            pack=row.pack,
            policy=row.rule,
            message=row.message,
            level=row.level,
            urn=row.urn,
            passes=(pass_name,),
            title=row.description,
            source=registrations[row.urn].source if row.urn in registrations else "",
        )
    )
    remote = (registration for registration in registrations.values() if registration.remote)
    return merge([*rows, *(_remote_component(registration, pass_name) for registration in remote)])


def _remote_component(registration: Registration, pass_name: str) -> Finding:
    """The finding that no rule evaluates the resources of a component that a plugin creates."""
    return _undecided(
        registration.urn,
        "the resources in this remote component are not evaluated, because only the Pulumi engine "
        "creates them",
        f"run pulumi preview with the packs, or check the deployed stack: {EXPORT_HINT}",
        pass_name,
        registration.source,
    )


def _undecided(urn: str, message: str, remedy: str, pass_name: str, source: str) -> Finding:
    """An undecided result that no rule reports."""
    return Finding(
        rule=UNDECIDED.id,
        title=UNDECIDED.title,
        pack=catalogue.PACKS[UNDECIDED.pack],
        level="",
        urn=urn,
        resource_type=type_of(urn),
        message=message,
        remedy=remedy,
        severity="",
        outcome="undecided",
        passes=(pass_name,),
        source=source,
    )


def reports_folder(parent: Path) -> Path:
    """The folder `.gatehouse` of a program, which Git ignores. Raises CheckError if it cannot be
    created.
    """
    try:
        folder = private_folder(parent / _FOLDER)
        if not (folder / ".gitignore").exists():
            write_private(folder / ".gitignore", "*\n")
    except OSError as error:
        raise CheckError(
            f"The reports cannot be written to {parent / _FOLDER}: {error.strerror}."
        ) from error
    return folder


def write(result: CheckResult, home: Path) -> None:
    """Write the reports `<home>/check/<stack>.{txt,sarif,xml,md}`, or `<stack>.<environment>.*`
    with the levels of another environment."""
    folder = private_folder(private_folder(home) / "check")
    run = result.run
    name = (
        run.environment if run.stack in ("", run.environment) else f"{run.stack}.{run.environment}"
    )
    for suffix in FORMATS:
        write_private(folder / f"{name}.{suffix}", result.text(suffix))


def show(result: CheckResult) -> None:
    console = Console()
    if console.is_terminal:
        console.print(
            table.table(result.findings, result.run), width=min(console.width, _COLUMNS_MAX)
        )
    else:
        sys.stdout.write(result.text("txt"))


def _root(program: Path) -> str:
    """The folder of the program relative to its repository, for code scanning; "" for the root."""
    folder = program.resolve()
    relative = folder.relative_to(repository_of(folder)).as_posix()
    return "" if relative == "." else relative
