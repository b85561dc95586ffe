"""Stores the results of rules for the meta policies. Thread-safe, because the SDK calls policies
from several threads.
"""

from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any, Generic, TypeVar

from gatehouse_policies.engine.exemptions import Exemption, Exemptions
from gatehouse_policies.engine.guard import Decision, violation_text
from gatehouse_policies.engine.rule import Rule

Report = Callable[[str, str | None], None]
ResultKey = tuple[str, str]  # rule ID, URN
Value = TypeVar("Value")


class Results(Generic[Value]):
    """The latest result for each rule and resource."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self._values: dict[ResultKey, Value] = {}

    def record(self, key: ResultKey, value: Value | None) -> None:
        """Replaces the result. An empty value removes the result."""
        with self._lock:
            if value:
                self._values[key] = value
            else:
                self._values.pop(key, None)

    def drain(self) -> dict[ResultKey, Value]:
        """Returns all results and clears them."""
        with self._lock:
            values, self._values = self._values, {}
        return values


class DeploymentState:
    """Program inputs, exemptions and results of the rules of one pack."""

    def __init__(self, exemptions: Exemptions) -> None:
        self.exemptions = exemptions
        self._lock = Lock()
        self._inputs: dict[str, frozenset[str]] = {}
        self.undecided: Results[tuple[tuple[str, str], ...]] = Results(self._lock)
        self.allowed: Results[tuple[tuple[str, str], ...]] = Results(self._lock)
        self.broken: Results[str] = Results(self._lock)
        self.exempted: Results[Exemption] = Results(self._lock)

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

    def record(self, rule: Rule, urn: str, decision: Decision, report: Report) -> None:
        """Reports violations that are not exempted, and records the rest of the result."""
        key = (rule.id, urn)
        exemption = self.exemptions.find(rule.id, urn) if rule.exemptible else None
        exempted = exemption is not None and bool(decision.violations or decision.undecided)
        self.undecided.record(
            key, None if exempted else tuple((path, "") for path in decision.undecided)
        )
        self.allowed.record(key, None if exempted else decision.allowed)
        self.broken.record(key, decision.broken)
        self.exempted.record(key, exemption if exempted else None)
        if not exempted:
            for violation in decision.violations:
                report(violation_text(violation, rule), urn)
