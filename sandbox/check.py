"""`python -m sandbox check`: both policy packs over a program, with outputs unknown and known, without an account."""

import dataclasses
import json
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

from policies import report
from policies.report import Finding, Run
from sandbox import analyzer
from sandbox.analyzer import Pack
from sandbox.clouds import InventedCloud, UnknownCloud
from sandbox.engine import run
from sandbox.journal import HOME, REPOSITORY
from sandbox.progress import Progress
from sandbox.project import load
from sandbox.types import Deployment

PACKS: Final = (REPOSITORY / "policies" / "security", REPOSITORY / "policies" / "resilience")
FORMATS: Final = ("table", "json", "sarif", "junit", "markdown")
PASSES: Final = ("unknown", "known")
_SUFFIXES: Final = {"table": "txt", "sarif": "sarif", "junit": "xml", "markdown": "md"}


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found, and what it looked at."""

    findings: list[Finding]
    run: Run

    @property
    def exit_code(self) -> int:
        """1 when a mandatory rule is broken, else 0."""
        return report.exit_code(self.findings)

    def text(self, form: str) -> str:
        """The report in one of `FORMATS`."""
        if form == "json":
            return json.dumps([dataclasses.asdict(finding) for finding in self.findings], indent=2) + "\n"
        if form == "sarif":
            return json.dumps(report.sarif(self.findings), indent=2) + "\n"
        if form == "junit":
            return report.junit(self.findings, self.run)
        if form == "markdown":
            return report.markdown(self.findings, self.run)
        return report.text(self.findings, self.run)


def check(
    program: Path, stack: str, *, levels: str = "", passes: Sequence[str] = PASSES, folders: Sequence[Path] = PACKS
) -> Checked:
    """Run the program and the packs; raises SandboxError when either cannot run.

    levels: the environment whose levels count, when it is not named like the stack. passes: "unknown" is a first
    preview,
    "known" has invented but well-formed ids and ARNs in place of what AWS would answer.
    """
    began = time.monotonic()
    project = load(program, stack)
    # A pass is judged by the packs, which are processes of their own, while the program runs for the next one.
    with analyzer.packs(folders, project, levels or stack) as packs, ThreadPoolExecutor(max_workers=1) as judge:
        judged: list[tuple[Deployment, Future[list[Finding]]]] = []
        for name in passes:
            deployment = _deployment(program, stack, name)
            judged.append((deployment, judge.submit(findings, packs, deployment, name)))
        found = report.merge(finding for _, future in judged for finding in future.result())
    resources = max(len(deployment.resources) for deployment, _ in judged)
    shown = program.name if program != REPOSITORY else "."
    return Checked(found, Run(levels or stack, resources, time.monotonic() - began, shown))


def findings(packs: Sequence[Pack], deployment: Deployment, name: str) -> list[Finding]:
    """What the packs say about a deployment, worst first. `name` is that of the pass."""
    known = {resource.registration.urn: resource.registration for resource in deployment.resources}
    found = []
    for row in chain.from_iterable(analyzer.analyze(packs, deployment).values()):
        about = known.get(row.urn)
        found.append(
            report.finding(
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
    return report.merge(found)


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


def show(checked: Checked, progress: Progress) -> None:
    """The table, in colour on a terminal."""
    progress.show(report.table(checked.findings, checked.run))


def stops(pack: Pack, found: Sequence[Finding]) -> bool:
    """True when a mandatory rule of this pack is broken."""
    return any(finding.stops for finding in found if finding.pack == pack.title)


def summary(pack: Pack, found: Sequence[Finding], deployment: Deployment) -> str:
    """One line about one pack, such as "security: 24 policies over 180 resources: clean"."""
    mine = [finding for finding in found if finding.pack == pack.title]
    stops = sum(finding.stops for finding in mine)
    rest = len(mine) - stops
    said = ", ".join([f"{stops} mandatory"] * bool(stops) + [f"{rest} advisory"] * bool(rest)) or "clean"
    return f"{pack.name}: {pack.rules} policies over {len(deployment.resources)} resources: {said}"


def _deployment(program: Path, stack: str, name: str) -> Deployment:
    unknown = name == "unknown"
    return run(program, stack, UnknownCloud() if unknown else InventedCloud(), preview=unknown)
