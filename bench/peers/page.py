"""docs/peers-policies.md: the same mistakes before Gatehouse (run), Checkov (run) and cdk-nag (its list read)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.peers import checkov
from bench.peers.mistakes import Mistake, read

PAGE = Path(__file__).resolve().parents[2] / "docs" / "peers-policies.md"
COMMAND = ".venv/bin/python -m bench.peers"
CDK_NAG = "3.0.2"
_NONE = "–"
_TEXT = """<!-- Made by `{command}`; a test fails when Gatehouse's column is not current. -->

# The same mistakes before three tools

{count} mistakes, each written twice by us: as a broken program and as a mended one, in Terraform and in Pulumi
([mistakes.toml](../bench/peers/mistakes.toml)). A tool *catches* a mistake when it says something of the broken program that
it does not say of the mended one. What it says of both, because the programs are small and lack other things too, does not
count.

| tool | how it was asked | catches |
| --- | --- | --- |
| Gatehouse | run over the Pulumi programs, outputs unknown and known, at the levels of prod | {gatehouse} of {count} |
| [Checkov]({checkov_url}) {checkov_version} | run over the Terraform programs, with its own checks | {checkov} of {count} |
| [cdk-nag]({cdk_nag_url}) {cdk_nag_version} | its list read (RULES.md of the npm package), not run | has a rule for {cdk_nag} |

{rows}

What this does not say: we chose the mistakes, and most of them are in services that this repository builds, so the counts are
no ranking of the tools.

{missed}
- Checkov lists 1,103 checks for Terraform alone (`checkov -l --framework terraform`), for many more services and clouds than
  Gatehouse has rules for. It reads Terraform, CloudFormation and others, and no Pulumi program. Where its column is empty, it
  said the same of both programs. Its check of privileged containers, CKV_AWS_334, is among those: it asks a container
  definition for `privilege`, and ECS calls that `privileged`.
- cdk-nag judges CDK programs and CloudFormation templates. Its column names one rule of one of its packs (others may have the
  same); whether that rule would see this very program was not tried. AwsSolutions-IAM5 asks for evidence for every wildcard,
  AwsSolutions-ECS2 for every environment variable, secret or not.
- Gatehouse reads Pulumi programs and exported stacks, and AWS only.
"""


def page(gatehouse: Mapping[str, list[str]]) -> str:
    """The whole text, with what Gatehouse says now and what Checkov said when it was run last."""
    mistakes = read()
    version, others = checkov.caught()
    head = ("mistake", "Gatehouse", "Checkov", "cdk-nag")
    rows = [head, ("---",) * 4, *(_row(one, gatehouse[one.key], sorted(others[one.key])) for one in mistakes)]
    missed = [one.title for one in mistakes if not gatehouse[one.key]]
    return _TEXT.format(
        command=COMMAND,
        count=len(mistakes),
        gatehouse=sum(bool(gatehouse[one.key]) for one in mistakes),
        checkov=sum(bool(others[one.key]) for one in mistakes),
        checkov_url="https://www.checkov.io",
        checkov_version=version,
        cdk_nag=sum(bool(one.cdk_nag) for one in mistakes),
        cdk_nag_url="https://github.com/cdklabs/cdk-nag",
        cdk_nag_version=CDK_NAG,
        rows="\n".join(f"| {' | '.join(cells)} |" for cells in rows),
        missed="\n".join(f"- Gatehouse misses this one: {title.lower()}." for title in missed) or "- Gatehouse misses none here.",
    )


def _row(mistake: Mistake, ours: list[str], theirs: list[str]) -> tuple[str, ...]:
    own = ", ".join(f"[{rule}](policies.md#{rule.lower()})" for rule in ours)
    return mistake.title, own or _NONE, ", ".join(theirs) or _NONE, mistake.cdk_nag or _NONE
