"""docs/scans.md: why findings of scanners over the deployed stack stay, from the file that the audit itself reads."""

from __future__ import annotations

import tomllib

from sandbox.audit import SCANNED, VERSION, accepted
from tools.docs.markdown import prose, table

KINDS = {
    "emulator": "It is so in the emulator, and not on AWS.",
    "account": "The owner of the account decides it, once for all stacks in it.",
    "decision": "It is meant.",
}
HEAD = f"""# Findings that stay

`make audit ENV=prod` (or `dev`, `staging`) deploys the stack to the emulator and lets Prowler {VERSION} look at it. A finding is
mended, or it has a reason here; a critical or high one without a reason makes the audit fail, and so does a scan that cannot run.
Prowler lives in an environment of its own under `.gatehouse/` (2 GB, installed by the first audit); it is not part of `uv.lock`.

The rows are [sandbox/accepted.toml](../sandbox/accepted.toml). A reason that covers nothing any more is shown by the audit.

What the three audits came to when they were last written down ([sandbox/scanned.toml](../sandbox/scanned.toml)): a check counts
once for each resource, and once for each region where it looks for one.
"""


def page() -> str:
    """The page without the word on top."""
    counts = tomllib.loads(SCANNED.read_text(encoding="utf-8"))
    rows = [(f"`{stack}`", *(str(row[key]) for key in ("passed", "reasons", "open"))) for stack, row in counts.items()]
    parts = [HEAD, table(("stack", "passed", "failed, with a reason", "without one"), rows) + "\n"]
    for kind, words in KINDS.items():
        lines = [
            (f"`{row.check}`", f"`{row.resource}`", ", ".join(row.stacks) or "all", prose(row.why))
            for row in accepted()
            if row.kind == kind
        ]
        parts.append(f"## {kind.capitalize()}\n\n{words}\n\n{table(('check', 'on', 'stacks', 'why'), lines)}\n")
    return "\n".join(parts)
