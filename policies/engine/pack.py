"""Makes Pulumi policies of rules: runs the guard, remembers what it saw, applies exemptions, and adds the companion
policies.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyConfigSchema,
    PolicyResource,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    Severity,
    StackValidationArgs,
    StackValidationPolicy,
)

from policies import catalogue
from policies.analysis import type_tokens as tokens
from policies.analysis.properties import Props, plain
from policies.analysis.resources import Resource, Stack, names_of
from policies.catalogue import Companion
from policies.engine import sdk_cache as once
from policies.engine.exemptions import Exemption, Exemptions, load
from policies.engine.remediation import REMEDIES, Change, remedied, revealed
from policies.engine.rule import Decision, Rule, decide, violation_text

# A program that takes the packs from here keeps its own exemptions: GATEHOUSE_EXEMPTIONS names that file.
# GATEHOUSE_IGNORE_EXEMPTIONS=1 shows an auditor everything.
_EXEMPTIONS_FILE = Path(__file__).parents[1] / "exemptions.toml"

_PLAIN = once.Kept[dict[str, Any]](lambda properties: plain(properties)[0])
_NAMES = once.Kept[frozenset[str]](names_of)

Report = Callable[[str, str | None], None]
Key = tuple[str, str]  # rule id, URN


class Ledger:
    """What the guard of one pack saw during one deployment. The SDK calls policies from several threads."""

    def __init__(self, exemptions: Exemptions) -> None:
        self.exemptions = exemptions
        self._lock = Lock()
        self._inputs: dict[str, frozenset[str]] = {}
        self._undecided: dict[Key, tuple[str, ...]] = {}
        self._allowed: dict[Key, tuple[tuple[str, str], ...]] = {}
        self._broken: dict[Key, str] = {}
        self._used: dict[Key, Exemption] = {}
        self._changed: dict[Key, tuple[Change, ...]] = {}

    def saw(self, urn: str, properties: Mapping[str, Any]) -> None:
        """Notes which properties the program set, before the provider adds computed ones."""
        with self._lock:
            self._inputs[urn] = frozenset(properties)

    def asked(self, urn: str, properties: dict[str, Any]) -> dict[str, Any]:
        """Only those properties that the program set: the rest is computed, and unknown at a first preview."""
        with self._lock:
            inputs = self._inputs.get(urn)
        return properties if inputs is None else {key: value for key, value in properties.items() if key in inputs}

    def settle(self, rule: Rule, urn: str, decision: Decision, report: Report) -> None:
        """Reports what is wrong now, and keeps for the companion policies what is undecided, broken or exempted."""
        key = (rule.id, urn)
        exemption = self.exemptions.find(rule.id, urn) if rule.exemptible else None
        exempted = exemption is not None and (decision.violations or decision.undecided)
        with self._lock:
            _keep(self._undecided, key, () if exempted else decision.undecided)
            _keep(self._allowed, key, () if exempted else decision.allowed)
            _keep(self._broken, key, decision.broken)
            _keep(self._used, key, exemption if exempted else None)
        if not exempted:
            for violation in decision.violations:
                report(violation_text(violation, rule), urn)

    def change(self, rule: Rule, urn: str, changes: tuple[Change, ...]) -> None:
        """Notes what a remediation changed in a resource, for it to be told."""
        with self._lock:
            _keep(self._changed, (rule.id, urn), changes)

    def take_changed(self) -> dict[Key, tuple[Change, ...]]:
        with self._lock:
            taken, self._changed = self._changed, {}
        return taken

    def take_undecided(self) -> dict[Key, tuple[str, ...]]:
        with self._lock:
            taken, self._undecided = self._undecided, {}
        return taken

    def take_allowed(self) -> dict[Key, tuple[tuple[str, str], ...]]:
        with self._lock:
            taken, self._allowed = self._allowed, {}
        return taken

    def take_broken(self) -> dict[Key, str]:
        with self._lock:
            taken, self._broken = self._broken, {}
        return taken

    def take_used(self) -> dict[Key, Exemption]:
        with self._lock:
            taken, self._used = self._used, {}
        return taken


def _keep(entries: dict[Key, Any], key: Key, value: Any) -> None:
    if value:
        entries[key] = value
    else:
        entries.pop(key, None)


def policies(pack: str) -> list[Policy]:
    """The policies of "security" or "resilience"."""
    # A control in exemptions.toml that no pack knows is told once, by the security pack.
    return guarded(catalogue.of_pack(pack), tells_strays=pack == "security")


def guarded(rules: Sequence[Rule], tells_strays: bool = False) -> list[Policy]:
    """Policies of any rules, for a pack of one's own: the rules behind the guard, then the companions, which must
    come last.

    Without a configuration every rule has its level and settings of prod: who says nothing gets the strict ones.
    """
    once.install()
    ledger = Ledger(_exemptions(rules))
    found = [_resource_policy(rule, ledger) for rule in rules if rule.scope == "resource"]
    found += [_stack_policy(rule, ledger) for rule in rules if rule.scope == "stack"]
    return found + _companions(frozenset(rule.id for rule in rules), ledger, tells_strays)


def _exemptions(rules: Sequence[Rule]) -> Exemptions:
    """The exemptions, read against all rules of the catalogue and these, which may be of one's own."""
    if os.environ.get("GATEHOUSE_IGNORE_EXEMPTIONS") == "1":
        return Exemptions()
    path = Path(os.environ.get("GATEHOUSE_EXEMPTIONS") or _EXEMPTIONS_FILE)
    return load(path, datetime.now(UTC).date(), {rule.id: rule.exemptible for rule in (*catalogue.RULES, *rules)})


# --- Rules as policies
# ---------------------------------------------------------------------------------------------------


def _resource_policy(rule: Rule, ledger: Ledger) -> Policy:
    def validate(args: ResourceValidationArgs, report: Report) -> None:
        ledger.saw(args.urn, args.props)
        if args.resource_type in rule.types or not rule.types:
            resource = _resource(rule, args, args.resource_type, _PLAIN.of(args.props), args.get_config())
            ledger.settle(rule, args.urn, decide(rule, resource, Stack([resource])), report)

    # The SDK takes inputs as well as an awaitable of them, but its types know the awaitable only.
    def remediate(args: ResourceValidationArgs) -> Any:
        if args.resource_type not in rule.types or (rule.exemptible and ledger.exemptions.find(rule.id, args.urn)):
            return None
        resource = _resource(rule, args, args.resource_type, revealed(args.props), args.get_config())
        found = remedied(rule, resource, args.props)
        ledger.change(rule, args.urn, found[1] if found else ())
        return found[0] if found else None

    return ResourceValidationPolicy(validate=validate, remediate=remediate if rule.id in REMEDIES else None, **_facts(rule))


def _stack_policy(rule: Rule, ledger: Ledger) -> Policy:
    def validate(args: StackValidationArgs, report: Report) -> None:
        if not any(one.resource_type in rule.types for one in args.resources):
            return  # Reading all resources is what costs, and most programs lack most kinds of them.
        stack = Stack(_stack_resource(rule, one, ledger, args.get_config()) for one in args.resources)
        for resource in stack.of(rule.types):
            ledger.settle(rule, resource.urn, decide(rule, resource, stack), report)

    return StackValidationPolicy(validate=validate, **_facts(rule))


def _stack_resource(rule: Rule, one: PolicyResource, ledger: Ledger, config: Mapping[str, Any]) -> Resource:
    everything = _PLAIN.of(one.props)
    return _resource(
        rule,
        one,
        one.resource_type,
        # The stack's own properties are the program's outputs, which are computed in whole.
        everything if one.resource_type == tokens.STACK else ledger.asked(one.urn, everything),
        config,
        names=_NAMES.of(everything),
        parent=one.parent.urn if one.parent else "",
        depends_on=tuple(peer.urn for peer in one.dependencies),
        feeds={prop: tuple(peer.urn for peer in peers) for prop, peers in one.property_dependencies.items()},
    )


def _resource(
    rule: Rule,
    source: ResourceValidationArgs | PolicyResource,
    type: str,
    properties: dict[str, Any],
    config: Mapping[str, Any],
    **joins: Any,
) -> Resource:
    settings = rule.defaults("prod")
    settings |= {name: float(value) for name, value in config.items() if name in settings}
    lists = dict(rule.lists)
    lists |= {name: tuple(str(one) for one in value) for name, value in config.items() if name in lists}
    return Resource(
        urn=source.urn,
        type=type,
        name=source.name,
        props=Props(properties),
        protect=source.opts.protect,
        provider=Props(_PLAIN.of(source.provider.props), "provider") if source.provider else None,
        settings=settings,
        lists=lists,
        **joins,
    )


def _facts(rule: Rule) -> dict[str, Any]:
    maps = rule.upstream
    schema: dict[str, Any] = {
        name: {"type": "number", "minimum": 0, "default": values["prod"]} for name, values in rule.settings.items()
    }
    schema |= {name: {"type": "array", "items": {"type": "string"}, "default": list(words)} for name, words in rule.lists.items()}
    return {
        "name": rule.id,
        "description": rule.title,
        "display_name": rule.title,
        "enforcement_level": EnforcementLevel(rule.levels["prod"].value),
        "config_schema": PolicyConfigSchema(schema) if schema else None,
        "severity": Severity(rule.severity.value),
        "tags": [*maps.security_hub, *(f"CIS {one}" for one in maps.cis), *maps.checkov, *maps.prowler, *maps.cdk_nag],
        "remediation_steps": rule.remedy,
        "url": rule.url,
    }


# --- Companions
# ----------------------------------------------------------------------------------------------------------


def _companions(mine: frozenset[str], ledger: Ledger, tells_strays: bool) -> list[Policy]:
    """What the guard saw, told after every rule has spoken."""

    def broken(args: StackValidationArgs, report: Report) -> None:
        for (rule, urn), error in ledger.take_broken().items():
            report(f"rule {rule} is broken on {urn}: {error}. Fix: {catalogue.BROKEN.remedy}", urn)

    def remediated(args: StackValidationArgs, report: Report) -> None:
        for (rule, urn), changes in ledger.take_changed().items():
            what = "; ".join(change.text() for change in changes)
            report(f"{rule} {what}, which the program does not say. Fix: {catalogue.REMEDIATED.remedy}", urn)

    def undecided(args: StackValidationArgs, report: Report) -> None:
        here = {one.urn for one in args.resources}
        for (rule, urn), paths in ledger.take_undecided().items():
            for path in paths if urn in here else ():
                fault = f"{rule} could not be decided for {urn}: {path} is unknown"
                report(f"{fault}. Fix: {catalogue.UNDECIDED.remedy}", urn)

    def allowed(args: StackValidationArgs, report: Report) -> None:
        here = {one.urn for one in args.resources}
        for (rule, urn), paths in ledger.take_allowed().items():
            for path, reason in paths if urn in here else ():
                report(f"{rule} could not be decided for {urn}: {path} is unknown, as it may be: {reason}", urn)

    def used(args: StackValidationArgs, report: Report) -> None:
        uses = ledger.take_used()
        for (rule, urn), entry in uses.items():
            report(
                f"{rule} is exempted for {urn} until {entry.expires} by {entry.owner} ({entry.ticket}): {entry.reason}",
                urn,
            )
        needed = {entry.number for entry in uses.values()}
        here = args.resources[0].urn if args.resources else ""
        for entry in ledger.exemptions.active:
            if entry.control in mine and entry.number not in needed and entry.concerns(here):
                report(
                    f"exemption {entry.number} ({entry.control}, {entry.ticket}) is not needed by any resource. "
                    f"Fix: {catalogue.EXEMPT_USED.remedy}",
                    None,
                )

    def invalid(args: StackValidationArgs, report: Report) -> None:
        for control, fault in ledger.exemptions.faults:
            if control in mine or (tells_strays and catalogue.find(control) is None):
                report(fault, None)

    return [
        _companion(catalogue.BROKEN, broken),
        _companion(catalogue.REMEDIATED, remediated),
        _companion(catalogue.EXEMPT_USED, used),
        _companion(catalogue.EXEMPT_INVALID, invalid),
        _companion(catalogue.UNDECIDED, undecided),
        _companion(catalogue.UNDECIDED_ALLOWED, allowed),
    ]


def _companion(companion: Companion, validate: Callable[[StackValidationArgs, Report], None]) -> Policy:
    return StackValidationPolicy(
        name=companion.id,
        description=companion.title,
        validate=validate,
        enforcement_level=EnforcementLevel(companion.levels["prod"].value),
        severity=Severity(companion.severity.value),
        remediation_steps=companion.remedy,
        url=companion.url,
    )
