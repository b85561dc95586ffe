"""The sandbox's command line: `python -m sandbox up|down|check|export|graph|diff|prowler`.

Exit codes: 0 done, 1 a mandatory rule is broken, a store would be replaced or a finding has no reason, 2 it could not run.
"""

import argparse
import gc
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.paths import HOME, REPOSITORY, write_private

_COULD_NOT_RUN = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; errors that a person can mend are one message on standard error, never a traceback."""
    options = _parser().parse_args(arguments)
    _forget_aws()
    try:
        return int(options.command(options))
    except SandboxError as problem:
        sys.stderr.write(f"error: {problem.message}\n")
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
    except BrokenPipeError:
        # The reader of a pipe left (`| head`): nothing more to say to it.
        sys.stderr.close()
    except Exception as problem:
        file = _keep_traceback(options.home)
        sys.stderr.write(f"error: the sandbox itself failed: {type(problem).__name__}: {problem}. Traceback: {file}\n")
    return _COULD_NOT_RUN


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox", description="Gatehouse on one machine: no AWS account, no Pulumi CLI."
    )
    # Where logs, reports and the journal go; the tests give a folder of their own.
    parser.add_argument("--home", type=Path, default=HOME, help=argparse.SUPPRESS)
    commands = parser.add_subparsers(required=True, metavar="up|down|check|export|graph|diff|prowler")
    known = sorted(file.name[len("Pulumi.") : -len(".yaml")] for file in REPOSITORY.glob("Pulumi.*.yaml"))
    stacks = ", ".join(known)

    up = commands.add_parser("up", help="deploy a stack to the emulator and start the gateway from it")
    up.add_argument("--env", default="dev", metavar="STACK", help=f"which stack: {stacks} (default: dev)")
    up.add_argument("--detach", action="store_true", help="return once everything is ready; stop it with `down`")
    up.set_defaults(command=_up)

    down = commands.add_parser("down", help="stop a running `up`, or sweep up after a crash")
    down.set_defaults(command=_down)

    check = commands.add_parser(
        "check",
        help="run both policy packs over a program or an exported stack",
        epilog="Exit status: 0 nothing stops a deployment, 1 a mandatory rule is broken, 2 the check could not run.",
    )
    check.add_argument("--env", metavar="STACK", help=f"which stack: {stacks} (default: dev; with --state: the file's own)")
    subject = check.add_mutually_exclusive_group()
    subject.add_argument("--program", type=Path, default=REPOSITORY, metavar="DIR", help="folder of a Pulumi Python program")
    subject.add_argument("--state", type=Path, metavar="FILE", help="what `pulumi stack export` wrote, in place of a program")
    check.add_argument(
        "--levels", default="", metavar="NAME", help="whose levels count, when not the stack's: dev, staging, prod"
    )
    check.add_argument(
        "--pack", type=Path, action="append", default=[], metavar="DIR", help="a pack of one's own, beside the two; once for each"
    )
    check.add_argument(
        "--exemptions", type=Path, metavar="FILE", help="exemptions of one's own (default: policies/exemptions.toml)"
    )
    check.add_argument("--ignore-exemptions", action="store_true", help="apply no exemption, to show an auditor everything")
    check.add_argument("--format", default="table", choices=("table", "json", "sarif", "junit", "markdown"))
    check.add_argument("--output", type=Path, metavar="FILE", help="write the report there instead of printing it")
    check.add_argument(
        "--pass", dest="passes", default="both", choices=("unknown", "known", "both"), help="which outputs to assume"
    )
    check.set_defaults(command=_check)

    export = commands.add_parser("export", help="write the deployment as a Pulumi deployment file, for `pulumi policy analyze`")
    export.add_argument("--env", default="dev", metavar="STACK", help=f"which stack: {stacks} (default: dev)")
    export.add_argument("--program", type=Path, default=REPOSITORY, metavar="DIR", help="folder of a Pulumi Python program")
    export.add_argument("--output", type=Path, metavar="FILE", help="write it there instead of printing it")
    export.set_defaults(command=_export)

    graph = commands.add_parser("graph", help="draw the components of a stack, and who talks to whom")
    graph.add_argument("--env", default="dev", metavar="STACK", help=f"which stack: {stacks} (default: dev)")
    graph.add_argument("--format", default="mermaid", choices=("mermaid", "svg"))
    graph.add_argument("--output", type=Path, metavar="FILE", help="write it there instead of printing it")
    graph.set_defaults(command=_graph)

    diff = commands.add_parser("diff", help="what a change of settings would create, update, replace and delete")
    diff.add_argument("--env", default="dev", metavar="STACK", help=f"which stack: {stacks} (default: dev)")
    diff.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting, such as image.digest=sha256:...",
    )
    diff.set_defaults(command=_diff)

    prowler = commands.add_parser("prowler", help="scan the deployed stack in the emulator with Prowler")
    prowler.add_argument("--env", default="prod", metavar="STACK", help=f"which stack: {stacks} (default: prod)")
    prowler.set_defaults(command=_prowler)
    return parser


def _forget_aws() -> None:
    """Take the caller's AWS profile and credentials out of this process: nothing here may reach a real account."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ |= {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _keep_traceback(home: Path) -> Path:
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(home / "error.log", traceback.format_exc())
    return home / "error.log"


# The commands import what they need: `down` and `--help` must not wait for Pulumi and moto.


def _up(options: argparse.Namespace) -> int:
    if options.detach:
        from sandbox.local.detach import up_detached

        return up_detached(options.env, options.home)
    from sandbox.local.up import up

    return up(options.env, home=options.home)


def _down(options: argparse.Namespace) -> int:
    from sandbox.local.down import down

    print(down(options.home))
    return 0


def _check(options: argparse.Namespace) -> int:
    from sandbox.checks import policy_check

    variables = policy_check.exemptions(options.exemptions, options.ignore_exemptions)
    folders = (*policy_check.PACKS, *options.pack)
    if options.state is not None:
        levels = options.levels or options.env or ""
        checked = policy_check.check_state(options.state, levels=levels, folders=folders, variables=variables)
    else:
        passes = policy_check.PASSES if options.passes == "both" else (options.passes,)
        program = options.program.resolve()
        checked = policy_check.check(
            program, options.env or "dev", levels=options.levels, passes=passes, folders=folders, variables=variables
        )
    policy_check.write(checked, options.home)
    if options.output is not None:
        _write(options.output, checked.text(options.format))
    elif options.format == "table":
        policy_check.show(checked)
    else:
        sys.stdout.write(checked.text(options.format))
    return checked.exit_code


def _export(options: argparse.Namespace) -> int:
    from sandbox.engine.stack_export import export

    text = export(options.program.resolve(), options.env)
    if options.output is not None:
        _write(options.output, text)
    else:
        sys.stdout.write(text)
    return 0


def _graph(options: argparse.Namespace) -> int:
    from sandbox.checks.graph import draw, graph
    from sandbox.engine.program import run
    from sandbox.engine.providers import InventedCloud

    text = draw(graph(run(REPOSITORY, options.env, InventedCloud(), preview=False)), options.format)
    if options.output is not None:
        _write(options.output, text)
    else:
        sys.stdout.write(text)
    return 0


def _diff(options: argparse.Namespace) -> int:
    from sandbox.checks.diff import diff, text

    steps = diff(REPOSITORY, options.env, options.changes)
    sys.stdout.write(text(steps))
    # A replaced store loses what is in it: the caller has to look.
    return 1 if any(step.loses_data for step in steps) else 0


def _prowler(options: argparse.Namespace) -> int:
    from sandbox.checks.prowler import audit

    return audit(options.env, options.home)


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as problem:
        raise SandboxError(f"{file} cannot be written: {problem.strerror}.") from problem


if __name__ == "__main__":
    code = main()
    # The last collection of a process would walk all of pulumi-aws: 2.5 s after `check --env prod` instead of 0.1 s.
    gc.freeze()
    sys.exit(code)
