"""Selects the policies that evaluate the resource types of a request, and decodes the resources of
a stack once for all policies.

For each resource, the Pulumi policy SDK prepares the arguments of every policy of the pack
(pulumi_policy/policy.py, Analyze and AnalyzeStack), although most rules evaluate one or two types.
With the selection, the SDK prepares only arguments that a rule reads. For each stack policy, the
SDK also constructs the objects of all resources again, which takes two thirds of the run time of a
pack. An SDK that lacks the replaced class is left unchanged.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypeVar

import pulumi_policy.policy
from pulumi.runtime.proto import analyzer_pb2
from pulumi_policy import Policy, PolicyResource, StackValidationArgs, StackValidationPolicy

_SDK: Any = pulumi_policy.policy
_SERVICER = "_PolicyAnalyzerServicer"
_SELECTED: ContextVar[Sequence[Policy] | None] = ContextVar("selected", default=None)
_RESOURCES: ContextVar[list[PolicyResource] | None] = ContextVar("resources", default=None)
_CACHE: ContextVar[dict[Any, tuple[Any, Any]] | None] = ContextVar("cache", default=None)

Value = TypeVar("Value")


def cached(derive: Callable[[Any], Value], source: Any) -> Value:
    """The value that is derived from a decoded object of a stack, once for all policies. The value
    must not be modified.
    """
    cache = _CACHE.get()
    if cache is None:
        return derive(source)
    key = (derive, id(source))
    if key not in cache:
        # The entry keeps the object, because Python may reuse the ID of a deleted one.
        cache[key] = (source, derive(source))
    value: Value = cache[key][1]
    return value


class StackPolicy(StackValidationPolicy):
    """A stack policy that evaluates the resources that were decoded once for the request. The
    resources must not be modified.
    """

    def validate(self, args: StackValidationArgs, report_violation: Any) -> Any:
        resources = _RESOURCES.get()
        if resources is not None:
            args.resources = resources
        return super().validate(args, report_violation)


class ApplicablePolicies(list[Policy]):
    """The policies of a pack. During a request, only the selected policies are iterated.

    policies: all stack policies are `StackPolicy`.
    types: the resource types of each policy, by its name. A policy without types evaluates every
        resource.
    record_inputs: called with the URN and the names of the inputs of each resource that the program
        manages.
    severities: the severity of a violation that is not that of its policy, by policy and message.
    end: called when the stack is evaluated.
    """

    def __init__(
        self,
        policies: Sequence[Policy],
        types: Mapping[str, Sequence[str]],
        record_inputs: Callable[[str, Iterable[str]], None] = lambda _urn, _names: None,
        severities: Mapping[tuple[str, str], str] = MappingProxyType({}),
        end: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(policies)
        self.record_inputs = record_inputs
        self.severities = severities
        self.end = end
        self._all = tuple(policies)
        self._types = types
        self._of_types = lru_cache(maxsize=1024)(self._select)

    def __iter__(self) -> Iterator[Policy]:
        selected = _SELECTED.get()
        return iter(self._all if selected is None else selected)

    def of_types(self, resource_types: set[str]) -> Sequence[Policy]:
        return self._of_types(frozenset(resource_types))

    def _select(self, resource_types: frozenset[str]) -> Sequence[Policy]:
        types = ((policy, self._types.get(policy.name)) for policy in self._all)
        return tuple(
            policy for policy, own in types if not own or not resource_types.isdisjoint(own)
        )


@contextmanager
def selection(policies: Sequence[Policy] | None) -> Iterator[None]:
    """Selects policies until the end of the block. None selects all policies."""
    token = _SELECTED.set(policies)
    try:
        yield
    finally:
        _SELECTED.reset(token)


def install() -> None:
    servicer: Any = getattr(_SDK, _SERVICER, None)
    if servicer is None or issubclass(servicer, _Selecting):
        return
    setattr(_SDK, _SERVICER, type(_SERVICER, (_Selecting, servicer), {}))


class _Selecting:
    def __init__(self, name: str, version: str, policies: list[Policy], *args: Any) -> None:
        parent: Any = super()
        parent.__init__(name, version, policies, *args)
        self._applicable = policies if isinstance(policies, ApplicablePolicies) else None
        self._parent = parent

    def Analyze(self, request: Any, context: Any) -> Any:
        if self._applicable is None:
            return self._parent.Analyze(request, context)
        # Policies do not receive every resource, so the inputs are recorded here.
        self._applicable.record_inputs(request.urn, list(request.properties.fields))
        with selection(self._applicable.of_types({request.type})):
            return self._with_severities(self._parent.Analyze(request, context))

    def AnalyzeStack(self, request: Any, context: Any) -> Any:
        if self._applicable is None:
            return self._parent.AnalyzeStack(request, context)
        decoded: list[PolicyResource] = []
        decoder = StackValidationPolicy(
            "decoder", "decodes the resources", lambda args, _report: decoded.extend(args.resources)
        )
        with selection([decoder]):
            self._parent.AnalyzeStack(request, context)
        token, cache = _RESOURCES.set(decoded), _CACHE.set({})
        try:
            with selection(
                self._applicable.of_types({resource.resource_type for resource in decoded})
            ):
                response = self._parent.AnalyzeStack(type(request)(), context)
                self._applicable.end()
                return self._with_severities(response)
        finally:
            _RESOURCES.reset(token)
            _CACHE.reset(cache)

    def _with_severities(self, response: Any) -> Any:
        """The response, in which a violation has its own severity. The SDK sets that of the
        policy.
        """
        severities = self._applicable.severities if self._applicable is not None else {}
        for diagnostic in response.diagnostics if severities else ():
            text = diagnostic.message.removeprefix(f"{diagnostic.description}\n")
            if severity := severities.get((diagnostic.policyName, text)):
                name = f"POLICY_SEVERITY_{severity.upper()}"
                diagnostic.severity = analyzer_pb2.PolicySeverity.Value(name)
        return response
