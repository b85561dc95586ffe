"""Command line of the policy packs: `gatehouse-policies check|baseline|list|explain|levels`.

Exit codes: 0 success, 1 a mandatory rule is violated, 2 error, 3 the program stopped after a
lookup, a result is undecided (with --fail-on-undecided) or something is not evaluated (with
--fail-on-unevaluated).
"""

import argparse
import gc
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pulumi_local.deferred_imports import import_sdk
from pulumi_local.errors import CommandError

from gatehouse_policies import frameworks
from gatehouse_policies.engine.rule import ENVIRONMENTS, SEVERITIES
from pulumi_local import command

if TYPE_CHECKING:
    from gatehouse_policies.configuration import Configuration
    from gatehouse_policies.gate import Gate
    from gatehouse_policies.policy_check import CheckResult
    from gatehouse_policies.processes.isolated import ProgramProcess

AddParser = Callable[..., argparse.ArgumentParser]
"""`add_parser` of the commands."""
_CHECK_EPILOG = """\
Exit codes: 0 no mandatory rule is violated, 1 a mandatory rule is violated,
2 the check could not run, 3 the program stopped after a lookup, a result is
undecided (with --fail-on-undecided) or a resource is not evaluated (with
--fail-on-unevaluated).

Example: gatehouse-policies check --program infrastructure --env prod"""
_BASELINE_EPILOG = "Example: gatehouse-policies baseline --env prod baseline.json"
_LIST_EPILOG = "Example: gatehouse-policies list --framework pci-dss"
_EXPLAIN_EPILOG = "Example: gatehouse-policies explain GH-S3-001"
_LEVELS_EPILOG = "Example: gatehouse-policies levels prod policy-packs"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Errors are reported as one message on standard
    error, without a traceback.
    """
    options = parser().parse_args(arguments)
    return command.run(
        lambda: int(options.command(options)), options.home or Path.cwd() / ".gatehouse"
    )


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(
        prog="gatehouse-policies",
        description="Check Pulumi programs for AWS, without an AWS account or the Pulumi CLI.",
    )
    # The folder for reports. Tests use a separate folder.
    root.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    commands = root.add_subparsers(required=True, metavar="<command>", title="commands")
    _add_check(commands.add_parser)

    text = (
        "Check a program, and write its findings to FILE, so that\n"
        "`check --baseline FILE` reports other findings only. Entries of other stacks\n"
        "are kept."
    )
    baseline = _add_command(commands.add_parser, "baseline", _baseline, text, _BASELINE_EPILOG)
    _add_subject(baseline)
    file = "JSON file of the baseline (default: the file in the configuration)."
    baseline.add_argument("file", type=Path, nargs="?", metavar="FILE", help=file)

    text = "List the controls."
    listing = _add_command(commands.add_parser, "list", _list, text, _LIST_EPILOG)
    listing.add_argument("--json", action="store_true", help="Write JSON with all fields.")
    _add_framework(listing, "List only")
    _add_pack(listing)

    text = "Show the rationale, the fix with an example, and the sources of a control."
    explain = _add_command(commands.add_parser, "explain", _explain, text, _EXPLAIN_EPILOG)
    explain.add_argument("id", metavar="ID", help="ID of the control, such as GH-S3-001.")
    _add_pack(explain)

    text = (
        "Write the levels and parameters of both packs to DIR/<pack>.json, for\n"
        "--policy-pack-config of the Pulumi CLI."
    )
    levels = _add_command(commands.add_parser, "levels", _levels, text, _LEVELS_EPILOG)
    levels.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="Configuration file whose values replace the defaults.",
    )
    levels.add_argument(
        "environment",
        choices=ENVIRONMENTS,
        metavar="ENVIRONMENT",
        help="Environment: dev, staging or prod.",
    )
    levels.add_argument("folder", type=Path, metavar="DIR", help="Folder of the two files.")
    return root


def _add_command(
    add_parser: AddParser,
    name: str,
    run: Callable[[argparse.Namespace], int],
    text: str,
    epilog: str = "",
) -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    command = add_parser(name, help=text, description=text, epilog=epilog, formatter_class=form)
    command.set_defaults(command=run)
    return command


def _add_check(add_parser: AddParser) -> None:
    text = "Check a Pulumi program or an exported stack with the policy packs."
    check = _add_command(add_parser, "check", _check, text, _CHECK_EPILOG)
    _add_subject(check)
    compared = check.add_mutually_exclusive_group()
    baseline = (
        "Findings in this file do not fail the check. `gatehouse-policies baseline` writes it."
    )
    compared.add_argument("--baseline", type=Path, metavar="FILE", help=baseline)
    revision = (
        "Findings of the program in this Git revision, such as origin/main, do not fail the check."
    )
    compared.add_argument("--diff", default="", metavar="REVISION", help=revision)
    fail_on = "Lowest severity of a mandatory violation that fails the check (default: low)."
    check.add_argument(
        "--fail-on", default="", choices=SEVERITIES, metavar="SEVERITY", help=fail_on
    )
    for name, verb in (("--only", "Evaluate only"), ("--skip", "Do not evaluate")):
        text = f'{verb} controls with this ID or pattern, such as "GH-S3-*". Can be repeated.'
        check.add_argument(name, action="append", default=[], metavar="ID", help=text)
    _add_framework(check, "Evaluate only")
    check.add_argument(
        "--fail-on-undecided",
        action="store_true",
        help="Exit with 3 if no mandatory rule is violated and a result is undecided.",
    )
    check.add_argument(
        "--fail-on-unevaluated",
        action="store_true",
        help="Exit with 3 if no mandatory rule is violated and no rule evaluates a resource or "
        "command.",
    )
    check.add_argument("--ignore-exemptions", action="store_true", help="Apply no exemptions.")


def _add_framework(command: argparse.ArgumentParser, verb: str) -> None:
    names = frameworks.frameworks()
    text = f"{verb} controls that are mapped to the framework: {', '.join(names)}."
    command.add_argument("--framework", default="", choices=names, metavar="NAME", help=text)


def _add_pack(command: argparse.ArgumentParser) -> None:
    packs = "Folder of an additional policy pack. Can be repeated."
    command.add_argument(
        "--pack", type=Path, action="append", default=[], metavar="DIR", help=packs
    )


def _add_subject(command: argparse.ArgumentParser) -> None:
    """The options that name what is checked, and with which packs."""
    stack = "Stack (default: dev; with --state, the stack in the file)."
    command.add_argument("--env", default="", metavar="STACK", help=stack)
    subject = command.add_mutually_exclusive_group()
    program = (
        "Folder of a Pulumi program (default: the current folder). A program in another language "
        "than Python needs the Pulumi CLI."
    )
    subject.add_argument("--program", type=Path, default=Path.cwd(), metavar="DIR", help=program)
    state = "Check the output of `pulumi stack export` instead of a program."
    subject.add_argument("--state", type=Path, metavar="FILE", help=state)
    levels = (
        "Environment whose enforcement levels apply: dev, staging or prod (default: from "
        "the stack)."
    )
    command.add_argument("--levels", default="", choices=ENVIRONMENTS, metavar="NAME", help=levels)
    _add_pack(command)
    command.add_argument(
        "--exemptions",
        type=Path,
        metavar="FILE",
        help="File with exemptions (default: the configuration file).",
    )
    config = (
        "Configuration file (docs/guides/policies.md). Default: policies.toml in the folder of the "
        "program, or in a folder above it in the repository."
    )
    command.add_argument("--config", type=Path, metavar="FILE", help=config)


@contextmanager
def _program_process(options: argparse.Namespace) -> Iterator["ProgramProcess | None"]:
    """The process of the program; None for an exported stack. It is a copy of this process, and
    starts before the libraries of the check are loaded, which a module of the program can shadow.
    """
    import_sdk()
    if options.state is not None:
        yield None
        return
    from gatehouse_policies.processes.isolated import ProgramProcess

    with ProgramProcess() as process:
        yield process


def _check(options: argparse.Namespace) -> int:
    """Imports the modules here, so that the other commands do not load Pulumi."""
    with _program_process(options) as process:
        if not options.diff:
            return _checked(options, process, None)
        with _program_process(options) as earlier:
            return _checked(options, process, earlier)


def _checked(
    options: argparse.Namespace,
    process: "ProgramProcess | None",
    earlier_process: "ProgramProcess | None",
) -> int:
    from gatehouse_policies import baseline, policy_check
    from gatehouse_policies.gate import Gate
    from gatehouse_policies.revision import program_at

    gate = Gate(
        tuple(options.only),
        tuple(options.skip),
        options.framework,
        options.fail_on,
        options.fail_on_undecided,
        options.fail_on_unevaluated,
    )
    config = _configuration(options)
    folder = _folder(options)
    result = _run_check(options, process, config, gate)
    file = options.baseline or config.baseline
    if options.diff:
        with program_at(options.diff, folder) as program:
            options.program = program
            earlier = _run_check(options, earlier_process, config, gate).findings
        result = result.compared_with(baseline.of_findings(options.diff, earlier))
    elif file is not None:
        run = result.run
        result = result.compared_with(baseline.read(file, run.project, run.stack))
    policy_check.write(result, options.home or policy_check.reports_folder(folder))
    policy_check.show(result)
    return result.exit_code


def _baseline(options: argparse.Namespace) -> int:
    options.ignore_exemptions = False
    with _program_process(options) as process:
        from gatehouse_policies import baseline
        from gatehouse_policies.gate import Gate

        config = _configuration(options)
        file = options.file or config.baseline
        if file is None:
            raise CommandError("Specify the file of the baseline, such as policies.baseline.json.")
        result = _run_check(options, process, config, Gate())
    stack = (result.run.project, result.run.stack)
    command.write_output(file, baseline.text(file, *stack, result.findings))
    entries = len(baseline.read(file, *stack).entries)
    print(f"wrote {file}: {entries} findings of {'/'.join(stack)}")
    return 0


def _folder(options: argparse.Namespace) -> Path:
    """The folder of the program; for an exported stack, the current folder."""
    return Path.cwd() if options.state is not None else Path(options.program).resolve()


def _configuration(options: argparse.Namespace) -> "Configuration":
    from gatehouse_policies import configuration

    return configuration.read(options.config or configuration.find(_folder(options)))


def _run_check(
    options: argparse.Namespace,
    process: "ProgramProcess | None",
    config: "Configuration",
    gate: "Gate",
) -> "CheckResult":
    from gatehouse_policies import policy_check
    from gatehouse_policies.processes import pulumi_cli

    folder, stack = options.program.resolve(), options.env or "dev"
    other = None if options.state is not None else pulumi_cli.find(folder, stack)
    if options.state is not None:
        run_check = partial(policy_check.check_state, options.state)
    elif other is not None:
        baselines = ("baseline", "diff", "file")  # the last one of the command baseline
        if config.baseline or any(getattr(options, name, None) for name in baselines):
            raise CommandError(
                "A baseline compares what the controls read, which the Pulumi CLI does not report. "
                "Remove --baseline, --diff and baseline in the configuration file."
            )
        run_check = partial(policy_check.check_preview, other)
    else:
        run_check = partial(policy_check.check, folder, stack, process=process)
    return run_check(
        levels=options.levels,
        folders=(*policy_check.PACKS, *options.pack),
        variables=policy_check.exemptions(
            options.exemptions or config.exemptions, options.ignore_exemptions
        ),
        configuration=config,
        gate=gate,
    )


def _list(options: argparse.Namespace) -> int:
    from gatehouse_policies import explain

    rules = explain.selected(options.framework, options.pack)
    sys.stdout.write(explain.as_json(rules) if options.json else explain.as_text(rules))
    return 0


def _explain(options: argparse.Namespace) -> int:
    from gatehouse_policies import explain

    sys.stdout.write(explain.explanation(options.id, options.pack))
    return 0


def _levels(options: argparse.Namespace) -> int:
    from gatehouse_policies import configuration
    from gatehouse_policies.catalogue import PACKS

    config = configuration.read(options.config or configuration.find(Path.cwd()))
    for pack in PACKS:
        target = options.folder / f"{pack}.json"
        text = (
            json.dumps(config.of_pack(pack, options.environment), indent=2, sort_keys=True) + "\n"
        )
        command.write_output(target, text)
        print(f"wrote {target}")
    return 0


def run() -> None:
    code = main()
    # Skip the last garbage collection: 0.1 s instead of 2.5 s after `check --env prod`.
    gc.freeze()
    sys.exit(code)


if __name__ == "__main__":
    run()
