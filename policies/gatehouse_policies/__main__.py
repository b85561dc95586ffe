"""Command line of the policy packs: `gatehouse-policies check|levels`.

Exit codes: 0 success, 1 a mandatory rule is violated, 2 error, 3 a result is undecided (only with
--fail-on-undecided).
"""

import argparse
import gc
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from gatehouse_policies import command, configuration
from gatehouse_policies.catalogue import PACKS
from gatehouse_policies.engine.rule import ENVIRONMENTS

AddParser = Callable[..., argparse.ArgumentParser]
"""`add_parser` of the commands."""
_CHECK_EPILOG = """\
Exit codes: 0 no mandatory rule is violated, 1 a mandatory rule is violated,
2 the check could not run, 3 a result is undecided (only with
--fail-on-undecided).

Example: gatehouse-policies check --program infrastructure --env prod"""
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
    stack = "Stack (default: dev; with --state, the stack in the file)."
    check.add_argument("--env", default="", metavar="STACK", help=stack)
    subject = check.add_mutually_exclusive_group()
    program = "Folder of a Pulumi program in Python (default: the current folder)."
    subject.add_argument("--program", type=Path, default=Path.cwd(), metavar="DIR", help=program)
    state = "Check the output of `pulumi stack export` instead of a program."
    subject.add_argument("--state", type=Path, metavar="FILE", help=state)
    levels = (
        "Environment whose enforcement levels apply: dev, staging or prod (default: from "
        "the stack)."
    )
    check.add_argument("--levels", default="", choices=ENVIRONMENTS, metavar="NAME", help=levels)
    packs = "Folder of an additional policy pack. Can be repeated."
    check.add_argument("--pack", type=Path, action="append", default=[], metavar="DIR", help=packs)
    check.add_argument(
        "--exemptions",
        type=Path,
        metavar="FILE",
        help="Exemptions file (default: the file of the packs).",
    )
    config = (
        "Configuration file: Regions, required tags, public routes and levels "
        "(docs/guides/policies.md)."
    )
    check.add_argument("--config", type=Path, metavar="FILE", help=config)
    check.add_argument(
        "--fail-on-undecided",
        action="store_true",
        help="Exit with 3 if no mandatory rule is violated and a result is undecided.",
    )
    check.add_argument("--ignore-exemptions", action="store_true", help="Apply no exemptions.")


def _check(options: argparse.Namespace) -> int:
    """Imports the modules here, so that the other commands do not load Pulumi."""
    from gatehouse_policies import policy_check

    variables = policy_check.exemptions(options.exemptions, options.ignore_exemptions)
    folders = (*policy_check.PACKS, *options.pack)
    run_check = (
        partial(policy_check.check_state, options.state)
        if options.state is not None
        else partial(policy_check.check, options.program.resolve(), options.env or "dev")
    )
    result = run_check(
        levels=options.levels,
        folders=folders,
        variables=variables,
        configuration=configuration.read(options.config),
        fail_on_undecided=options.fail_on_undecided,
    )
    subject = Path.cwd() if options.state is not None else options.program
    policy_check.write(result, options.home or policy_check.reports_folder(subject.resolve()))
    policy_check.show(result)
    return result.exit_code


def _levels(options: argparse.Namespace) -> int:
    config = configuration.read(options.config)
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
