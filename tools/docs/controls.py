"""docs/policies.md: the table of controls."""

from collections import Counter
from collections.abc import Iterable
from typing import get_args

from gatehouse_policies.catalogue import PACKS, RULES
from gatehouse_policies.engine.meta_policies import META_POLICIES
from gatehouse_policies.engine.rule import ENVIRONMENTS, Control, Severity

from tools.docs import markdown
from tools.docs.markdown import prose, table


def page() -> str:
    by_severity = Counter(rule.severity for rule in RULES)
    severities = ", ".join(
        f"{by_severity[severity]} {severity}" for severity in reversed(get_args(Severity))
    )
    tables = (
        f"## Pack `{name}`\n\n{_table([rule for rule in RULES if rule.pack == name])}"
        for name in PACKS
    )
    return markdown.page(
        "policies",
        meta_policies=_table(META_POLICIES),
        count=len(RULES),
        severities=severities,
        controls="\n\n".join(tables),
    )


def _table(controls: Iterable[Control]) -> str:
    rows = (
        (
            f"`{control.id}`",
            prose(control.title),
            control.severity,
            "/".join(control.level(environment).value[0] for environment in ENVIRONMENTS)
            + ("*" if control.strict else ""),
        )
        for control in controls
    )
    return table(("ID", "title", "severity", "levels"), rows)
