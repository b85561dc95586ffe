"""What Gatehouse's packs say of each mistake: the Pulumi programs, outputs unknown and known, at the levels of prod."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.peers.mistakes import VARIANTS, Mistake, variant
from policies.reports.findings import merge
from sandbox import analyzer, check
from sandbox.clouds import InventedCloud, UnknownCloud
from sandbox.engine import run
from sandbox.project import load

_STACK = "prod"
_PROJECT = "name: mistakes\nruntime: python\n"
_CONFIG = 'config:\n  aws:region: eu-west-1\n  aws:allowedAccountIds: ["123456789012"]\n'
_HEAD = "import json\n\nimport pulumi_aws as aws\n\n"


def caught(mistakes: Sequence[Mistake]) -> dict[str, list[str]]:
    """The rules that say something of the broken program and not of the mended one, by the mistake's key."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "Pulumi.yaml").write_text(_PROJECT)
        (folder / f"Pulumi.{_STACK}.yaml").write_text(_CONFIG)
        with analyzer.packs(check.PACKS, load(folder, _STACK), _STACK) as packs:
            return {one.key: _difference(folder, packs, one) for one in mistakes}


def _difference(folder: Path, packs: Sequence[analyzer.Pack], mistake: Mistake) -> list[str]:
    said = {name: _said(folder, packs, variant(mistake.pulumi, name)) for name in VARIANTS}
    return sorted({rule for rule, _ in said["broken"] - said["mended"]})


def _said(folder: Path, packs: Sequence[analyzer.Pack], program: str) -> set[tuple[str, str]]:
    """Rule and message: one rule may find several things wrong, and still find the others in the mended program."""
    (folder / "__main__.py").write_text(_HEAD + program)
    clouds = ((UnknownCloud(), True), (InventedCloud(), False))
    deployments = [run(folder, _STACK, cloud, preview=preview) for cloud, preview in clouds]
    found = merge(one for deployment in deployments for one in check.findings(packs, deployment, "check"))
    return {(one.rule, one.message) for one in found if one.outcome == "violation"}
