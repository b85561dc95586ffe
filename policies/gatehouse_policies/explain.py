"""`gatehouse-policies list` and `explain`: the controls, their sources and an example."""

import json
import tomllib
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from pulumi_local.errors import CommandError
from pulumi_local.files.project import Project
from pulumi_local.type_tokens import class_name

from gatehouse_policies import catalogue, frameworks
from gatehouse_policies.engine.exemptions import DAYS_MAX
from gatehouse_policies.engine.rule import ENVIRONMENTS, SEVERITIES, Rule
from gatehouse_policies.reports.python_names import in_python


def selected(framework: str = "", folders: Sequence[Path] = ()) -> list[Rule]:
    """The controls that are mapped to a framework, or all. folders: those of other packs."""
    return [
        rule
        for rule in (*catalogue.RULES, *of_packs(folders))
        if not framework or framework in frameworks.of_control(rule)
    ]


@dataclass(frozen=True, kw_only=True)
class _OtherRule(Rule):
    """A rule of another pack, which says neither the types nor the rationale."""

    pack_name: str


def of_packs(folders: Sequence[Path]) -> list[Rule]:
    """The rules of other packs, sorted by ID. Raises CommandError if a pack does not start."""
    # Not loaded by commands without other packs.
    from gatehouse_policies.processes import analyzer

    found: dict[str, list[tuple[str, Any]]] = {}
    with ExitStack() as stack:
        running = [
            stack.enter_context(
                analyzer.packs(folders, Project("list", name, Path(), Path(), {}), name)
            )
            for name in (ENVIRONMENTS if folders else ())
        ]  # All start before the first one answers.
        for pack in chain.from_iterable(running):
            for policy in pack.info().policies:
                if catalogue.find(policy.name) is None:
                    found.setdefault(policy.name, []).append((pack.title, policy))
    return [_other_rule(*found[id]) for id in sorted(found)]


def _other_rule(*policies: tuple[str, Any]) -> Rule:
    """policies: the pack and the policy, as the pack describes it for each environment."""
    from gatehouse_policies.processes import policy_config

    pack, policy = policies[-1]
    letters = {"advisory": "A", "disabled": "-"}
    levels = [policy_config.level_name(each.enforcementLevel) for _, each in policies]
    properties = dict(policy.configSchema.properties)
    return _OtherRule(
        policy.name,
        pack_name=pack,
        title=policy.displayName or policy.description,
        remedy=policy.remediation_steps,
        severity=SEVERITIES[max(policy.severity - 1, 0)],
        url=policy.url,
        upstream=" ".join(policy.tags),
        levels="".join(letters.get(level, "M") for level in levels),
        lists=dict.fromkeys(properties, ()),
        types=(),
        scope="resource",
        check=lambda *_: iter(()),
    )


def as_json(rules: Iterable[Rule]) -> str:
    return json.dumps([_row(rule) for rule in rules], indent=2) + "\n"


def as_text(rules: Iterable[Rule]) -> str:
    """One line for each control: ID, severity, levels in dev, staging and prod, title."""
    return "".join(
        f"{rule.id:<11} {rule.severity:<8}  {_levels(rule):<5} {rule.title}\n" for rule in rules
    )


def _levels(rule: Rule) -> str:
    levels = (rule.level(environment).value[0] for environment in ENVIRONMENTS)
    return "/".join(levels) + ("*" if rule.strict else "")


def _row(rule: Rule) -> dict[str, Any]:
    values = asdict(rule, dict_factory=dict)
    names = ("id", "title", "severity", "pack", "types", "remedy", "url", "exemptible", "strict")
    return {
        **{name: values[name] for name in names},
        **({"pack": rule.pack_name} if isinstance(rule, _OtherRule) else {}),
        "needs": rule.needs,
        "levels": {name: rule.level(name).value for name in ENVIRONMENTS},
        "parameters": {**values["settings"], **values["lists"]},
        "introduced": rule.introduced.isoformat() if rule.introduced else "",
        "rationale": rule.rationale,
        "upstream": rule.upstream_ids(),
        "frameworks": frameworks.of_control(rule),
    }


def explanation(id: str, folders: Sequence[Path] = ()) -> str:
    """The rationale, the fix with an example, the parameters and the sources of a control. Raises
    CommandError for an unknown control. folders: those of other packs.
    """
    rules = {rule.id.upper(): rule for rule in selected(folders=folders)}
    rule = rules.get(id.upper())
    if rule is None:
        close = get_close_matches(id.upper(), rules, 1)
        hint = f"Write {close[0]}." if close else "`gatehouse-policies list` shows all controls."
        packs = "" if folders else " Add the pack of an own control with --pack DIR."
        raise CommandError(f"There is no control {id}. {hint}{packs}")
    types = dict.fromkeys(class_name(token) for token in rule.types)
    levels = ", ".join(f"{name} {rule.level(name).value}" for name in ENVIRONMENTS)
    strict = "; needs strict = true in the configuration file" if rule.strict else ""
    needs = f"; needs {rule.needs} in the configuration file" if rule.needs else ""
    token = rule.types[0] if rule.types else ""
    exempt = f"# gatehouse:exempt {rule.id} until <date>: <reason>"
    parts = [
        f"{rule.id}  {rule.title}",
        f"Severity {rule.severity}; {levels}{strict}{needs}.\n{rule.rationale}",
        ""
        if isinstance(rule, _OtherRule)
        else f"Evaluates: {', '.join(types) or 'resources of every type'}",
        f"Fix: {in_python(rule.remedy, token)}" if rule.remedy else "",
        f"Example:\n{example}" if (example := example_of(rule)) else "",
        "\n".join([*map(_parameter, rule.settings.items()), *map(_list, rule.lists)]),
        f"Exemption: {exempt} (at most {DAYS_MAX} days)"
        if rule.exemptible
        else "Exemption: not possible",
        "\n".join([*([f"Source: {rule.url}"] if rule.url else []), *_sources(rule)]),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _sources(rule: Rule) -> list[str]:
    """The other catalogues with the control, and the requirements of frameworks."""
    rows = [f"Also known as: {', '.join(rule.upstream_ids())}"] if rule.upstream else []
    for id, requirements in frameworks.of_control(rule).items():
        framework = frameworks.frameworks()[id]
        source = f"({framework.source}, {framework.date})"
        rows.append(f"{framework.name}: {', '.join(requirements)} {source}")
    return rows


def _parameter(setting: tuple[str, Any]) -> str:
    name, values = setting
    defaults = ", ".join(f"{environment} {value:g}" for environment, value in values.items())
    return f"Parameter {name}: {defaults}"


def _list(name: str) -> str:
    return f"Parameter {name}: a list, set in the configuration file"


def example_of(rule: Rule) -> str:
    """A violation, and the same resource without it."""
    return _examples().get(rule.id, "").strip()


@cache
def _examples() -> dict[str, str]:
    text = Path(__file__).with_name("examples.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
