"""`python -m sandbox check`: both policy packs over a program, with outputs unknown and known, or over an exported
stack; without an account.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Final

from rich.console import Console

from policies.reports import sarif, table
from policies.reports.findings import Finding, Run, exit_code, from_diagnostic, merge
from policies.reports.junit import junit
from policies.reports.markdown import markdown
from sandbox.engine import analyzer, stack_import
from sandbox.engine.analyzer import Pack
from sandbox.engine.program import no_collection, run
from sandbox.engine.project import load
from sandbox.engine.providers import InventedCloud, UnknownCloud, refers_elsewhere
from sandbox.engine.types import Deployment
from sandbox.errors import SandboxError
from sandbox.paths import HOME, REPOSITORY

PACKS: Final = (REPOSITORY / "policies" / "security", REPOSITORY / "policies" / "resilience")
FORMATS: Final = ("table", "json", "sarif", "junit", "markdown")
PASSES: Final = ("unknown", "known")
NO_VARIABLES: Final[Mapping[str, str]] = MappingProxyType({})
_COLUMNS_MAX: Final = 120
_AUDIT: Final = "GATEHOUSE_IGNORE_EXEMPTIONS"
_SUFFIXES: Final = {"table": "txt", "sarif": "sarif", "junit": "xml", "markdown": "md"}


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found, and what it looked at."""

    findings: list[Finding]
    run: Run

    @property
    def exit_code(self) -> int:
        """1 when a mandatory rule is broken, else 0."""
        return exit_code(self.findings)

    def text(self, form: str) -> str:
        """The report in one of `FORMATS`."""
        if form == "json":
            return json.dumps([dataclasses.asdict(finding) for finding in self.findings], indent=2) + "\n"
        if form == "sarif":
            return json.dumps(sarif.document(self.findings, self.run), indent=2) + "\n"
        if form == "junit":
            return junit(self.findings, self.run)
        if form == "markdown":
            return markdown(self.findings, self.run)
        return table.text(self.findings, self.run)


def check(
    program: Path,
    stack: str,
    *,
    levels: str = "",
    passes: Sequence[str] = PASSES,
    folders: Sequence[Path] = PACKS,
    variables: Mapping[str, str] = NO_VARIABLES,
) -> Checked:
    """Run the program and the packs; raises SandboxError when either cannot run.

    levels: the environment whose levels count, when it is not named like the stack. passes: "unknown" is a first
    preview, "known" has invented but well-formed ids and ARNs in place of what AWS would answer. variables: of
    `exemptions`.
    """
    began = time.monotonic()
    project = load(program, stack)
    # A pass is judged by the packs, which are processes of their own, while the program runs for the next one. One
    # collection between the passes would take longer than all that it could free.
    with (
        no_collection(),
        analyzer.packs(folders, project, levels or stack, variables) as packs,
        ThreadPoolExecutor(max_workers=1) as judge,
    ):
        judged: list[tuple[Deployment, Future[list[Finding]]]] = []
        invented: set[str] = set()
        for name in passes:
            cloud = UnknownCloud() if name == "unknown" else InventedCloud()
            # Pulumi keeps a value unknown in a preview only, and exports of another stack are unknown in every pass.
            preview = name == "unknown" or any(refers_elsewhere(before) for before, _ in judged)
            deployment = run(program, stack, cloud, preview=preview)
            invented |= cloud.invented
            judged.append((deployment, judge.submit(findings, packs, deployment, name)))
        found = merge(finding for _, future in judged for finding in future.result())
    resources = max(len(deployment.resources) for deployment, _ in judged)
    took = time.monotonic() - began
    asked = tuple(sorted(token.rpartition(":")[2] for token in invented))
    return Checked(found, Run(levels or stack, resources, took, _root(program), audit=_audit(variables), invented=asked))


def check_state(
    file: Path, *, levels: str = "", folders: Sequence[Path] = PACKS, variables: Mapping[str, str] = NO_VARIABLES
) -> Checked:
    """Judge an exported stack as it is; raises SandboxError when the file is not one or a pack cannot run."""
    began = time.monotonic()
    project, deployment = stack_import.read(file)
    environment = levels or project.stack
    with analyzer.packs(folders, project, environment, variables) as packs:
        found = findings(packs, deployment, "state")
    took, resources = time.monotonic() - began, len(deployment.resources)
    return Checked(found, Run(environment, resources, took, file=file.name, audit=_audit(variables)))


def exemptions(file: Path | None, ignore: bool) -> dict[str, str]:
    """The packs' variables for a file of exemptions of one's own, or for an audit that applies none."""
    if ignore:
        return {_AUDIT: "1"}
    if file is None:
        return {}
    if not file.is_file():
        raise SandboxError(f"There is no file {file}. Give a file of [[exemption]] entries: --exemptions FILE")
    return {"GATEHOUSE_EXEMPTIONS": str(file.resolve())}


def findings(packs: Sequence[Pack], deployment: Deployment, name: str) -> list[Finding]:
    """What the packs say about a deployment, worst first. `name` is that of the pass."""
    known = {resource.registration.urn: resource.registration for resource in deployment.resources}
    found = []
    for row in chain.from_iterable(analyzer.analyze(packs, deployment).values()):
        about = known.get(row.urn)
        found.append(
            from_diagnostic(
                pack=row.pack,
                policy=row.rule,
                message=row.message,
                level=row.level,
                urn=row.urn,
                resource_type=about.type if about else "",
                passes=(name,),
                source=about.source if about else "",
            )
        )
    return merge(found)


def write(checked: Checked, home: Path = HOME) -> list[Path]:
    """Write `.gatehouse/check/<environment>.{txt,sarif,xml,md}`; return the files."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = home / "check"
    folder.mkdir(exist_ok=True)
    files = []
    for form, suffix in _SUFFIXES.items():
        file = folder / f"{checked.run.environment}.{suffix}"
        file.write_text(checked.text(form), encoding="utf-8")
        files.append(file)
    return files


def show(checked: Checked) -> None:
    """The table: in colour on a terminal and no wider than the eye follows, else as in the file."""
    console = Console()
    if console.is_terminal:
        console.print(table.table(checked.findings, checked.run), width=min(console.width, _COLUMNS_MAX))
    else:
        sys.stdout.write(checked.text("table"))


def stops(pack: Pack, found: Sequence[Finding]) -> bool:
    """True when a mandatory rule of this pack is broken."""
    return any(finding.blocks for finding in found if finding.pack == pack.title)


def summary(pack: Pack, found: Sequence[Finding], deployment: Deployment) -> str:
    """One line about one pack, such as "security: 24 policies over 180 resources: clean"."""
    mine = [finding for finding in found if finding.pack == pack.title]
    stops = sum(finding.blocks for finding in mine)
    rest = len(mine) - stops
    said = ", ".join([f"{stops} mandatory"] * bool(stops) + [f"{rest} advisory"] * bool(rest)) or "clean"
    return f"{pack.name}: {pack.rules} policies over {len(deployment.resources)} resources: {said}"


def _audit(variables: Mapping[str, str]) -> bool:
    return variables.get(_AUDIT) == "1"


def _root(program: Path) -> str:
    """The program's folder in its repository, the form in which code scanning names files; "" at the top."""
    folder = program.resolve()
    top = next((parent for parent in (folder, *folder.parents) if (parent / ".git").exists()), folder)
    return "" if top == folder else folder.relative_to(top).as_posix()
