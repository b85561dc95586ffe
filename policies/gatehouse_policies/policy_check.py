"""`gatehouse-policies check`: runs policy packs on a program or on an exported stack."""

import json
import re
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from pulumi_local.errors import CommandError
from pulumi_local.files import stack_import
from pulumi_local.files.project import Project, load
from pulumi_local.private_files import private_folder, write_private
from pulumi_local.runner import SOURCE_PREFIX
from pulumi_local.source_lines import repository_of
from pulumi_local.type_tokens import class_name, function_name
from pulumi_local.types import ACCOUNT, Registration
from rich.console import Console

from gatehouse_policies import catalogue, code_exemptions
from gatehouse_policies.baseline import Baseline
from gatehouse_policies.configuration import Configuration
from gatehouse_policies.engine.environment import VARIABLE as ENVIRONMENT_VARIABLE
from gatehouse_policies.engine.environment import of_stack
from gatehouse_policies.engine.exemptions import PREFIX, controls
from gatehouse_policies.engine.meta_policies import UNDECIDED
from gatehouse_policies.engine.rule import Level
from gatehouse_policies.gate import Gate
from gatehouse_policies.processes import analyzer, pulumi_cli
from gatehouse_policies.processes.analyzer import Pack
from gatehouse_policies.processes.isolated import Outcome, ProgramProcess, Request
from gatehouse_policies.processes.messages import RUNS_CODE, Messages
from gatehouse_policies.processes.policy_config import RuleConfigs
from gatehouse_policies.reports import sarif, table
from gatehouse_policies.reports.findings import (
    PASSES,
    Finding,
    LevelChange,
    Run,
    exit_code,
    from_diagnostic,
    merge,
    rank,
    still_undecided,
    type_of,
)
from gatehouse_policies.reports.html import html
from gatehouse_policies.reports.junit import junit
from gatehouse_policies.reports.markdown import markdown
from gatehouse_policies.reports.python_names import in_python

PACKS: Final = tuple(catalogue.PACKS_FOLDER / name for name in catalogue.PACKS)
FORMATS: Final[Mapping[str, Callable[[Sequence[Finding], Run], str]]] = {
    "txt": table.text,
    "sarif": lambda findings, run: json.dumps(sarif.document(findings, run)) + "\n",
    "xml": junit,
    "md": markdown,
    "html": html,
}
"""Reports, keyed by the suffix of their file."""
_COLUMNS_MAX: Final = 120
_FOLDER: Final = ".gatehouse"
_EXEMPTIONS: Final = "GATEHOUSE_EXEMPTIONS"
_IGNORE_EXEMPTIONS: Final = "GATEHOUSE_IGNORE_EXEMPTIONS"
_PROVIDER_MAJOR: Final = "7"
EXPORT_HINT: Final = "pulumi stack export --file state.json, and --state state.json"
_DEFAULTS: Final = Configuration()
_GATE: Final = Gate()


@dataclass(frozen=True)
class CheckResult:
    """The findings of a check, and the parameters and statistics of the run."""

    findings: list[Finding]
    run: Run

    @property
    def exit_code(self) -> int:
        return exit_code(self.findings, self.run)

    def compared_with(self, baseline: Baseline) -> "CheckResult":
        """The result in which findings of the baseline do not fail the check."""
        found, absent = baseline.apply(self.findings)
        absent = 0 if self.run.gate.is_partial else absent
        return CheckResult(found, replace(self.run, baseline=baseline.name, absent=absent))

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
    gate: Gate = _GATE,
    process: ProgramProcess | None = None,
) -> CheckResult:
    """Check a program with policy packs. Raises CommandError if the program or a pack cannot run.

    levels: environment whose levels apply, by default the environment of the stack.
    variables: result of `exemptions`.
    configuration: Regions, tags, levels and example values of the program's repository.
    gate: the controls to evaluate, and the violations that fail the check.
    process: the process of the program, which this function ends. Default: a new one.
    """
    started_at = time.monotonic()
    _require_provider_version()
    project = load(program, stack, examples=configuration.stack_config)
    with _packs(folders, project, levels, variables, configuration, gate) as (environment, packs):
        with process or ProgramProcess() as program_process:  # most of the memory of a check
            outcome, pass_name, failed = _run_program(
                program_process, program, stack, configuration
            )
        messages = outcome.messages
        assert messages is not None  # noqa: S101  a run without messages raises an error
        sources = {item.urn: item.source for item in messages.registrations}
        failed += [
            _failed(pass_name, urn, sources.get(urn, ""), "the result of apply is unknown", text)
            for urn, text in outcome.applied
        ]
        failed += [
            _failed(pass_name, "", "", "another value leads to other resources", text)
            for text in outcome.decisions
        ]
        merged = merge([*findings(packs, messages, pass_name), *failed])
        merged = [_at_export(finding, outcome.exports) for finding in merged]
        if _IGNORE_EXEMPTIONS not in (variables or {}):
            others = {id: True for pack in packs for id in pack.levels if not catalogue.find(id)}
            declared = {*sources.values()}
            merged = code_exemptions.apply(
                merged,
                declared,
                project.root,
                datetime.now(UTC).date(),
                configuration.no_code_exemptions,
                others,
            )
    merged = list(map(_in_python, merged))
    run_of_check = Run(
        environment,
        len(messages.registrations),
        time.monotonic() - started_at,
        _root(program),
        invented=tuple(sorted(token.rpartition(":")[2] for token in outcome.functions)),
        unknown=project.unknown,
        gate=gate,
        stopped=outcome.error,
    )
    return _result(merged, run_of_check, messages, packs, variables, configuration)


@contextmanager
def _packs(
    folders: Sequence[Path],
    project: Project,
    levels: str,
    variables: Mapping[str, str] | None,
    configuration: Configuration,
    gate: Gate,
) -> Iterator[tuple[str, tuple[Pack, ...]]]:
    """The environment whose levels apply, and the running packs. Raises CommandError if the
    configuration or the gate names a rule that no pack has.
    """
    environment = levels or configuration.environment(
        project.name, project.stack, of_stack(project.name, project.stack, project.config)
    )
    changes = configuration.rules.get(environment, {})
    skipped = configuration.not_configured(environment)
    with analyzer.packs(
        folders,
        project,
        environment,
        variables,
        changes,
        lambda id: gate.selects(id) and id not in skipped,
    ) as packs:
        yield environment, packs
        gate.require_known(id for pack in packs for id in pack.levels)
        file = Path((variables or {}).get(_EXEMPTIONS, "/"))
        exempted = [id for id in controls(file) if not id.startswith(PREFIX)]
        for name, ids in ((configuration.name, changes), (file.name, exempted)):
            for id in ids:
                if not any(id in pack.levels for pack in packs) and catalogue.find(id) is None:
                    raise CommandError(
                        f"{name}: no pack has the rule {id}. Add the pack with --pack DIR, or "
                        f"correct the ID."
                    )


def _run_program(
    process: ProgramProcess, program: Path, stack: str, configuration: Configuration
) -> tuple[Outcome, str, list[Finding]]:
    """Run the program with known outputs. If that fails, or a function of `apply` does, run it with
    the unknown outputs of a first preview, in which fake values do not fail. If this run fails too,
    the resources up to the failure are evaluated, or CommandError is raised if the program called
    no function with a fake result. Otherwise, a failure is an undecided result.
    """
    request = Request(
        *(str(program), stack, True, ACCOUNT, True),
        configuration.stack_config,
        configuration.lookups,
    )
    known = process.run(request)
    if known.account:
        known = process.run(replace(request, account=known.account))
    if not known.error and not known.applied:
        return known, PASSES[1], []
    outcome = process.run(replace(request, known=False, lenient=False))
    if outcome.error and outcome.functions:
        outcome = process.run(replace(request, known=False))
    if not known.error and outcome.messages is not None:
        return known, PASSES[1], []
    consequence = "the run with known outputs failed"
    if outcome.error and known.error:
        calls = ", ".join(map(function_name, sorted({*known.functions, *outcome.functions})))
        consequence = (
            "the program stopped, and what it declares after this line is not evaluated"
            + f" (results that a check does not know: {calls})" * bool(calls)
        )
        if known.messages is not None:
            outcome = known
    if outcome.messages is None:
        raise CommandError(outcome.error)
    pass_name = PASSES[1] if outcome is known else PASSES[0]
    return outcome, pass_name, [_failed(pass_name, "", "", consequence, known.error)]


def _failed(pass_name: str, urn: str, source: str, consequence: str, error: str) -> Finding:
    """The undecided result of a function or a run that fails with fake values.

    source: the line that declares the resource, for an error without a line.
    """
    location = SOURCE_PREFIX.match(error)
    return _undecided(
        urn,
        f"{consequence}: {error.removesuffix('.')}",
        f"use a value that is known at preview, add the result of a lookup to policies.toml "
        f"([[lookups]]), or check the deployed stack: {EXPORT_HINT}",
        pass_name,
        location[0].removesuffix(": ") if location else source,
    )


def check_preview(
    program: pulumi_cli.Program,
    *,
    levels: str = "",
    folders: Sequence[Path] = PACKS,
    variables: Mapping[str, str] | None = None,
    configuration: Configuration = _DEFAULTS,
    gate: Gate = _GATE,
) -> CheckResult:
    """Check a program in another language with `pulumi preview`. Raises CommandError without the
    Pulumi CLI, or if the preview fails.

    The engine does not say the line of a resource and what a rule read. It runs one preview with
    unknown outputs.
    """
    started_at = time.monotonic()
    environment = levels or configuration.environment(
        program.name, program.stack, of_stack(program.name, program.stack, program.config)
    )
    packs = {folder: _engine_config(folder, environment, configuration, gate) for folder in folders}
    if all(packs.values()):  # The controls of other packs are not known before the preview.
        gate.require_known(id for config in packs.values() for id in config)
    environment_variables = {**(variables or {}), ENVIRONMENT_VARIABLE: environment}
    messages, diagnostics, stopped = pulumi_cli.preview(program, packs, environment_variables)
    found = (
        each
        for row in diagnostics
        if gate.selects(row.rule)
        for each in from_diagnostic(
            pack=row.pack,
            policy=row.rule,
            message=row.message,
            level=row.level,
            urn=row.urn or messages.root,
            passes=(PASSES[0],),
            title=row.description,
            severity=row.severity,
        )
    )
    run_of_check = Run(
        environment,
        len(messages.registrations),
        time.monotonic() - started_at,
        _root(program.folder),
        gate=gate,
        stopped=stopped,
    )
    running = [
        pulumi_cli.EnginePack(
            catalogue.PACKS.get(folder.name, folder.name),
            {id: str(values["enforcementLevel"]) for id, values in packs[folder].items()},
        )
        for folder in folders
    ]
    return _result(merge(found), run_of_check, messages, running, variables, configuration)


def _engine_config(
    folder: Path, environment: str, configuration: Configuration, gate: Gate
) -> RuleConfigs:
    """The levels and parameters of a pack, with rules that the gate does not select disabled."""
    if folder not in PACKS:
        return {}  # The levels that the rules declare.
    config = configuration.of_pack(folder.name, environment)
    disabled = {"enforcementLevel": Level.DISABLED.value}
    return {
        id: values if gate.selects(id) else {**values, **disabled} for id, values in config.items()
    }


def check_state(
    file: Path,
    *,
    levels: str = "",
    folders: Sequence[Path] = PACKS,
    variables: Mapping[str, str] | None = None,
    configuration: Configuration = _DEFAULTS,
    gate: Gate = _GATE,
) -> CheckResult:
    """Check an exported stack. Raises CommandError if the file is invalid or a pack cannot run."""
    started_at = time.monotonic()
    project, deployment = stack_import.read(file)
    with _packs(folders, project, levels, variables, configuration, gate) as (environment, packs):
        messages = Messages.of(deployment)
        merged = findings(packs, messages, "state")
    duration = time.monotonic() - started_at
    run_of_check = Run(environment, len(deployment.resources), duration, file=file.name, gate=gate)
    return _result(merged, run_of_check, messages, packs, variables, configuration)


def _result(
    findings: list[Finding],
    run_of_check: Run,
    messages: Messages,
    packs: Sequence[Pack | pulumi_cli.EnginePack],
    variables: Mapping[str, str] | None,
    configuration: Configuration,
) -> CheckResult:
    own = [pack for pack in packs if isinstance(pack, Pack)]
    not_evaluated = _not_evaluated(messages, own)
    accepted = configuration.accepted_types
    complete = replace(
        run_of_check,
        audit=_IGNORE_EXEMPTIONS in (variables or {}),
        not_configured=configuration.not_configured(run_of_check.environment),
        configuration=configuration.name,
        unevaluated=(
            *messages.unevaluated,
            *pulumi_cli.not_reported(packs),
            *(text for type_, text in not_evaluated.items() if type_ not in accepted),
            *([run_of_check.stopped] if run_of_check.stopped else []),
        ),
        accepted=[
            f"until {accepted[type_].expires}: {text} ({accepted[type_].reason})"
            for type_, text in not_evaluated.items()
            if type_ in accepted
        ],
        project=messages.project,
        stack=messages.stack_name,
        pack_seconds={catalogue.PACKS.get(pack.title, pack.title): pack.seconds for pack in packs},
        level_changes=_level_changes(run_of_check.environment, packs, configuration),
        other_rules=sum(
            catalogue.find(id) is None and level != Level.DISABLED
            for pack in packs
            for id, level in pack.levels.items()
        ),
    )
    gate = complete.gate
    failing = (
        finding
        if gate.fails(finding.rule, finding.severity)
        else replace(finding, level=Level.ADVISORY)
        for finding in findings
        # A partial check does not know which exemptions are not used.
        if not (gate.is_partial and finding.outcome == "unused")
    )
    return CheckResult(sorted(failing, key=rank), complete)


def _at_export(finding: Finding, exports: Mapping[str, str]) -> Finding:
    """The finding, if it is about an output of the stack, with the line that exports it."""
    for name, line in sorted(exports.items(), reverse=True):
        if not finding.source and re.search(rf"\boutput(s\.| ){re.escape(name)}", finding.message):
            return replace(finding, source=line)
    return finding


def _in_python(finding: Finding) -> Finding:
    """The finding with the names of the program. A remedy can name the type of the properties."""
    text = in_python(f"{finding.message}\n{finding.remedy}", finding.resource_type)
    message, _, remedy = text.partition("\n")
    return replace(finding, message=message, remedy=remedy)


def _level_changes(
    environment: str, packs: Sequence[Pack | pulumi_cli.EnginePack], configuration: Configuration
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
    """Raises CommandError if a program has replaced pulumi-aws by a version whose types the rules
    do not know.
    """
    installed = version("pulumi-aws")
    if installed.partition(".")[0] != _PROVIDER_MAJOR:
        raise CommandError(
            f"The rules support pulumi-aws {_PROVIDER_MAJOR}, but {installed} is installed in "
            f"{sys.prefix}. "
            f"Install pulumi-aws {_PROVIDER_MAJOR}, or check the deployed stack: {EXPORT_HINT}."
        )


def _not_evaluated(messages: Messages, packs: Sequence[Pack]) -> dict[str, str]:
    """A sentence for each type with inputs that concern security and that no rule evaluates, by the
    name of the type in a program. Resources that are only read do not count.
    """
    managed = (item for item in messages.registrations if item.custom and not item.external)
    present = {item.type: {_ALL} for item in managed if not item.type.startswith(_EVALUATED)}
    read: dict[str, set[str]] = {}
    for pack in packs:
        for type_, found in pack.inputs("set").items():
            present.setdefault(type_, set()).update(found)
        for type_, found in pack.inputs("read").items():
            read.setdefault(type_, {_ALL}).update(found)
    sentences = {}
    for type_, paths in sorted(present.items()):
        own = read.get(type_, ())
        if left := sorted(path for path in paths if not _is_read(path, own)):
            name = class_name(type_)
            sentences[name] = f"{name}: {in_python(', '.join(left), type_)}"
    return sentences


_EVALUATED: Final = ("aws:", "pulumi:", "random:", *RUNS_CODE)
"""Packages whose inputs are reviewed in inputs.json, those without services, and types that every
report lists for another reason.
"""
_ALL: Final = "all inputs"


def _is_read(path: str, read: Collection[str]) -> bool:
    """True if a path or an object that contains it is read."""
    return any(path == each or path.startswith(f"{each}.") for each in read)


def exemptions(file: Path | None, ignore: bool) -> dict[str, str]:
    """Environment variables with which the packs read another exemptions file or ignore exemptions.
    Raises CommandError if the file does not exist."""
    if ignore:
        return {_IGNORE_EXEMPTIONS: "1"}
    if file is None:
        return {}
    if not file.is_file():
        raise CommandError(
            f"The file {file} does not exist. Specify a file with [[exemption]] entries: "
            f"--exemptions FILE"
        )
    return {_EXEMPTIONS: str(file.resolve())}


def findings(packs: Sequence[Pack], messages: Messages, pass_name: str) -> list[Finding]:
    """The findings of the packs for a deployment, most severe first."""
    registrations = {item.urn: item for item in messages.registrations}
    diagnostics = analyzer.analyze(packs, messages)
    levels = {pack.title: pack.levels for pack in packs}  # complete after the packs have answered
    facts = {pack.title: pack.facts() for pack in packs}
    parsed = (
        (
            row,
            finding
            if pass_name == PASSES[0]
            else still_undecided(finding, levels.get(row.pack, {})),
        )
        for row in diagnostics
        for finding in from_diagnostic(
            pack=row.pack,
            policy=row.rule,
            message=row.message,
            level=row.level,
            urn=row.urn,
            passes=(pass_name,),
            title=row.description,
            severity=row.severity,
            source=registrations[row.urn].source if row.urn in registrations else "",
        )
    )
    rows = (
        replace(
            finding,
            facts=facts.get(row.pack, {}).get(finding.rule, {}).get(finding.urn),
            aliases=tuple(registrations[finding.urn].aliases)
            if finding.urn in registrations
            else (),
        )
        for row, finding in parsed
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
    """The folder `.gatehouse` of a program, which Git ignores. Raises CommandError if it cannot be
    created.
    """
    try:
        folder = private_folder(parent / _FOLDER)
        if not (folder / ".gitignore").exists():
            write_private(folder / ".gitignore", "*\n")
    except OSError as error:
        raise CommandError(
            f"The reports cannot be written to {parent / _FOLDER}: {error.strerror}."
        ) from error
    return folder


def write(result: CheckResult, home: Path) -> None:
    """Write the reports `<home>/check/<stack>.<suffix of the format>`. With the levels of another
    environment, the name is `<stack>.<environment>`.
    """
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
