"""The catalogue of controls on the documentation site: one page for each policy pack."""

from collections.abc import Iterator

from gatehouse_policies.catalogue import PACKS, RULES
from gatehouse_policies.engine.rule import ENVIRONMENTS, Rule
from gatehouse_policies.explain import example_of

from tools.docs.markdown import prose, table


def pages() -> Iterator[tuple[str, str]]:
    """The name and the text of each page."""
    for pack in PACKS:
        sections = (_section(rule) for rule in RULES if rule.pack == pack)
        yield pack, "\n\n".join((f"# Controls: {pack}", *sections)) + "\n"


def _section(rule: Rule) -> str:
    levels = ", ".join(f"{name}: {rule.level(name).value}" for name in ENVIRONMENTS)
    types = ", ".join(f"`{token}`" for token in rule.types) or "all"
    rows = [
        ("Severity", rule.severity),
        ("Levels", levels),
        ("Resources", types),
        ("Remedy", prose(rule.remedy)),
        ("Reason", f"<{rule.url}>"),
    ]
    if upstream := ", ".join(rule.upstream_ids()):
        rows.append(("In other catalogues", upstream))
    for name, values in rule.settings.items():
        text = ", ".join(f"{environment}: {value:g}" for environment, value in values.items())
        rows.append((f"`{name}`", text))
    rows += [(f"`{name}`", ", ".join(values)) for name, values in rule.lists.items()]
    rows += [(f"`{name}` may be unknown", prose(why)) for name, why in rule.unknown_allowed.items()]
    if not rule.exemptible:
        rows.append(("Exemptions", "not possible"))
    heading = f"({rule.id.lower()})=\n\n## {rule.id}: {prose(rule.title)}"
    example = f"```python\n{text}\n```" if (text := example_of(rule)) else ""
    return "\n\n".join(filter(None, (heading, table(("Property", "Value"), rows), example)))
