"""Runs the policy packs on the Pulumi programs, with unknown and with known outputs, at the levels of prod."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.peers.mistakes import VARIANTS, Mistake, variant
from policies.reports.findings import merge
from sandbox.checks import policy_check
from sandbox.engine import analyzer
from sandbox.engine.program import run
from sandbox.engine.project import load
from sandbox.engine.providers import FakeProvider, PreviewProvider

_STACK = "prod"
_PROJECT = "name: mistakes\nruntime: python\n"
_CONFIG = 'config:\n  aws:region: eu-west-1\n  aws:allowedAccountIds: ["123456789012"]\n'
_HEAD = "import json\n\nimport pulumi_aws as aws\n\n"


def caught(mistakes: Sequence[Mistake]) -> dict[str, list[str]]:
    """Controls that report the incorrect but not the corrected program, by mistake key."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "Pulumi.yaml").write_text(_PROJECT)
        (folder / f"Pulumi.{_STACK}.yaml").write_text(_CONFIG)
        with analyzer.packs(policy_check.PACKS, load(folder, _STACK), _STACK) as packs:
            return {mistake.key: _difference(folder, packs, mistake) for mistake in mistakes}


def _difference(folder: Path, packs: Sequence[analyzer.Pack], mistake: Mistake) -> list[str]:
    violations = {name: _violations(folder, packs, variant(mistake.pulumi, name)) for name in VARIANTS}
    return sorted({rule for rule, _ in violations["incorrect"] - violations["corrected"]})


def _violations(folder: Path, packs: Sequence[analyzer.Pack], program: str) -> set[tuple[str, str]]:
    """Pairs of control and message. A control can report several messages; only some of them disappear with the fix."""
    (folder / "__main__.py").write_text(_HEAD + program)
    clouds = ((PreviewProvider(), True), (FakeProvider(), False))
    deployments = [run(folder, _STACK, cloud, preview=preview) for cloud, preview in clouds]
    findings = merge(finding for deployment in deployments for finding in policy_check.findings(packs, deployment, "check"))
    return {(finding.rule, finding.message) for finding in findings if finding.outcome == "violation"}
