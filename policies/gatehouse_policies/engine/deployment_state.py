"""Stores the results of rules for the meta policies. Thread-safe, because the SDK calls policies
from several threads.
"""

import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from gatehouse_policies.analysis import settings
from gatehouse_policies.analysis.properties import recorded_reads
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.engine.exemptions import Exemption, Exemptions
from gatehouse_policies.engine.facts import VARIABLE, facts_of
from gatehouse_policies.engine.guard import Decision, evaluate, violation_text
from gatehouse_policies.engine.rule import Rule

Report = Callable[[str, str | None], None]


@dataclass(frozen=True)
class Result:
    """The decision of a rule on a resource. exemption: the entry that suppresses its violations."""

    rule: str
    urn: str
    decision: Decision
    exemption: Exemption | None


class DeploymentState:
    """Program inputs, exemptions and results of the rules of one pack."""

    def __init__(self, exemptions: Exemptions) -> None:
        self.exemptions = exemptions
        self._lock = Lock()
        self._facts_file = os.environ.get(VARIABLE, "")
        self._inputs: dict[str, frozenset[str]] = {}
        self._results: dict[tuple[str, str], Result] = {}
        #: The severity of a violation that is not that of its rule, by rule and text.
        self.severities: dict[tuple[str, str], str] = {}
        #: The facts of the findings, by rule and URN.
        self.facts: dict[str, dict[str, Any]] = {}
        #: Inputs that no rule of this distribution evaluates, by type: those that the program sets,
        #: and those that a rule of another pack reads.
        self._set: dict[str, set[str]] = {}
        self._read: dict[str, set[str]] = {}

    def record_inputs(self, urn: str, properties: Iterable[str]) -> None:
        """Records which properties the program sets before the provider adds computed
        properties.
        """
        with self._lock:
            self._inputs[urn] = frozenset(properties)

    def is_managed(self, urn: str) -> bool:
        """False for a resource that the program only reads with `get`.

        The engine passes the inputs of all other resources to a pack before it passes the stack.
        True for every resource if the inputs were not recorded.
        """
        with self._lock:
            return not self._inputs or urn in self._inputs

    def program_inputs(self, urn: str, properties: dict[str, Any]) -> dict[str, Any]:
        """The properties that the program sets. Computed properties are unknown in the first
        preview.
        """
        with self._lock:
            inputs = self._inputs.get(urn)
        return (
            properties
            if inputs is None
            else {key: value for key, value in properties.items() if key in inputs}
        )

    def decide(self, rule: Rule, resource: Resource, stack: Stack, report: Report) -> None:
        """Evaluates a rule, reports the violations and records the result and its facts."""
        reads: Mapping[Any, Any] = {}
        if self._is_noted(rule, resource):
            with recorded_reads() as reads:
                decision = evaluate(rule, resource, stack)
        else:
            decision = evaluate(rule, resource, stack)
        self._note(resource, reads)
        if self._facts_file and (decision.violations or decision.undecided):
            facts = facts_of(rule, resource, stack)
            with self._lock:
                self.facts.setdefault(rule.id, {})[resource.urn] = facts
        self.record(rule, resource.urn, decision, report)

    def _is_noted(self, rule: Rule, resource: Resource) -> bool:
        """True if the inputs that a rule reads can be those that no rule of this distribution
        evaluates.
        """
        is_other = not resource.type.startswith(("aws:", "pulumi:"))
        known = is_other or settings.not_evaluated(resource.type)
        return bool(self._facts_file and known and resource.type in rule.types)

    def _note(self, resource: Resource, reads: Mapping[Any, Any]) -> None:
        paths = settings.not_evaluated(resource.type)
        root = resource.props.root
        read = {settings.without_indexes(path) for id_, path in reads if id_ == id(root)}
        with self._lock:
            if read:
                self._read.setdefault(resource.type, set()).update(read)
            if present := {path for path in paths if settings.is_set(root, path)}:
                self._set.setdefault(resource.type, set()).update(present)

    def write_facts(self) -> None:
        """Writes the facts, and the inputs that no rule of this distribution evaluates, to the file
        that the check names.
        """
        if self._facts_file:
            found = {"facts": self.facts, "set": self._set, "read": self._read}
            text = json.dumps(found, default=sorted)
            Path(self._facts_file).write_text(text, encoding="utf-8")

    def record(self, rule: Rule, urn: str, decision: Decision, report: Report) -> None:
        """Reports violations that are not exempted, and records the rest of the result."""
        exemption = self.exemptions.find(rule.id, urn) if rule.exemptible else None
        if not (decision.violations or decision.undecided):
            exemption = None
        with self._lock:
            self._results.pop((rule.id, urn), None)
            if decision != Decision():
                self._results[rule.id, urn] = Result(rule.id, urn, decision, exemption)
        for violation in decision.violations if exemption is None else ():
            text = violation_text(violation, rule)
            if violation.severity:
                self.severities[rule.id, text] = violation.severity
            report(text, urn)

    def results(self, urns: Collection[str]) -> list[Result]:
        """The latest results for these resources, except resources that pass."""
        with self._lock:
            return [result for result in self._results.values() if result.urn in urns]
