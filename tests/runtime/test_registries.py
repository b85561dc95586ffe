"""Each registry of a long-lived object loses entries, too. Those that requests fill without another
process are filled here.
"""

import ast
import contextlib
from collections.abc import Callable, Iterator, Sized
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import gatehouse
import pytest
from gatehouse.core.cores import DEFAULT_SETTINGS, CoreSettings
from gatehouse.core.errors import Unavailable
from gatehouse.core.http.addresses import ClientAddresses
from gatehouse.core.keys import KeyId
from gatehouse.core.limits import ledger
from gatehouse.features.cores.credentials import Credentials
from gatehouse.features.cores.reports import INTERVALS, InstanceTraffic
from gatehouse.features.usage.cloudwatch_metrics import CORES_MAX, METRICS_INTERVAL_S, UsageMetrics
from gatehouse.features.usage.models import RecordedRequest, UsageBatch, UsageRow
from gatehouse.features.usage.service import ALLOWED_MAX, DENIALS_MAX, UsageCounter
from gatehouse.features.verification.cache import KeyCache, RecordCache
from gatehouse.platform.semaphores import RequestLimits
from gatehouse.services.console.lockout import PAIRS_MAX, Lockout
from msgspec.structs import replace

from tests.runtime.clocks import ManualClock
from tests.runtime.core_records import instance
from tests.runtime.key_records import RECORD

ROOT = Path(gatehouse.__file__).parent
CONTAINERS = {
    *("Counter", "OrderedDict", "Pending", "WeakValueDictionary", "defaultdict", "deque", "dict"),
    *("list", "set", "Queue"),
}
#: Attributes and operators that remove entries of a container.
REMOVES = {
    *("pop", "popitem", "popleft", "discard", "remove", "clear", "get_nowait"),
    *("intersection_update", "difference_update"),
}
#: Methods in which another container takes the place of none.
STARTS = ("__init__", "__post_init__")
#: Registries that only grow: what their keys are does not come from requests.
DEPLOYED = {
    "core/tokens/imported_tokens.py:ImportedKeyIds._generations": "generations of the pepper",
    "features/cores/reports.py:RequestCounts.buckets": "numbers of buckets",
    "features/cores/repository.py:CoreRegistry._own": "Cores of the gateway itself",
    "platform/calls.py:_last": "operations of the systems on which the process depends",
    "platform/envoy/response_counts.py:Responses._last": "clusters of Envoy, classes of statuses",
    "platform/metrics.py:Metrics._durations": "routes and classes of statuses",
    "platform/supervisor.py:_Processes._pipes": "workers",
    "platform/supervisor.py:_Processes._restarts": "services",
    "platform/web/application.py:Routes._handlers": "endpoints",
}
#: Objects that live as long as a request, a message, a response, a connection or a command.
SHORT = {
    *("Conditions", "Facts", "Stream._fields", "Request", "LocalConnection", "ImportJob"),
    *("Link", "Key", "KeySettings", "Endpoint", "Api", "Table", "Settings", "_Cluster"),
    *("_Clusters", "Registration", "GatewaySecrets", "Reports", "WorkerReport"),
}


def container(value: ast.expr | None) -> str:
    """Name of the type of an empty container that an expression creates, or "" for others and for
    one with a maximum length.
    """
    match value:
        case ast.Dict(keys=[]):
            return "dict"
        case ast.List(elts=[]):
            return "list"
        case ast.Call(func=ast.Name(id="field"), keywords=keywords):
            factories = (each.value for each in keywords if each.arg == "default_factory")
            return next((name(each) for each in factories), "")
        case ast.Call(func=function):
            return name(function)
    return ""


def name(function: ast.expr) -> str:
    match function:
        case ast.Lambda(body=ast.Call(keywords=[ast.keyword(arg="maxlen")])):
            return ""
        case ast.Name(id=text) | ast.Attribute(attr=text):
            return text if text in CONTAINERS else ""
        case ast.Subscript(value=value):
            return name(value)
        case ast.Lambda(body=ast.Call(func=called)):
            return name(called)
    return ""


def assigned(tree: ast.AST) -> Iterator[tuple[ast.expr, ast.expr | None, str]]:
    """Targets with their values and annotations."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign):
            yield node.target, node.value, ast.unparse(node.annotation)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                match target, node.value:
                    case ast.Tuple(elts=targets), ast.Tuple(elts=values):
                        yield from ((*each, "") for each in zip(targets, values, strict=False))
                    case _:
                        yield target, node.value, ""


def loses_entries(owner: ast.AST, attribute: str) -> bool:
    """True if a class or a module removes entries of a container, or replaces it."""

    def is_container(node: ast.expr) -> bool:
        return getattr(node, "attr", getattr(node, "id", "")) == attribute

    kept = {
        each
        for node in ast.walk(owner)
        if isinstance(node, ast.AugAssign) or getattr(node, "name", "") in STARTS
        for each in ast.walk(node)
    }
    for node in ast.walk(owner):
        match node:
            case ast.Attribute(value=value, attr=name) if name in REMOVES and is_container(value):
                return True
            case ast.AugAssign(target=target, op=ast.Sub() | ast.BitAnd()) if is_container(target):
                return True
            case ast.Delete(targets=[ast.Subscript(value=value)]) if is_container(value):
                return True
            case ast.Attribute(ctx=ast.Store()) if node not in kept and is_container(node):
                return True
    return False


@cache
def registries() -> dict[str, bool]:
    """The containers in attributes, and in variables of modules that are changed. The value is True
    if entries are removed.
    """
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        file = path.relative_to(ROOT).as_posix()
        if path.name == "schemas.py" or file.startswith("commands/cli/"):
            continue
        tree = ast.parse(path.read_text("utf-8"))
        classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        for owner in classes:
            if owner.name in SHORT:
                continue
            for target, value, annotation in assigned(owner):
                match target:
                    case ast.Attribute(value=ast.Name(id="self"), attr=attribute):
                        pass
                    case ast.Name(id=attribute) if any(
                        getattr(each, "target", None) is target for each in owner.body
                    ):
                        pass
                    case _:
                        continue
                kind = container(value) or ("Pending" if annotation.startswith("Pending") else "")
                if kind and f"{owner.name}.{attribute}" not in SHORT:
                    found[f"{file}:{owner.name}.{attribute}"] = loses_entries(owner, attribute)
        for node in tree.body:
            for target, value, _ in assigned(node) if not isinstance(node, ast.ClassDef) else ():
                is_top = isinstance(target, ast.Name) and target.col_offset == node.col_offset
                if is_top and container(value):
                    found[f"{file}:{ast.unparse(target)}"] = loses_entries(
                        tree, ast.unparse(target)
                    )
    return found


#: More than any of the bounds below, except for key families.
ENTRIES, SIZE = 11_000, 100


def key_cache(_: ManualClock) -> Iterator[Any]:
    yield (cache := KeyCache(SIZE, SIZE)), SIZE
    for number in range(ENTRIES):
        key_ids = KeyId(f"{number}"), KeyId(f"absent{number}"), KeyId(f"failed{number}")
        cache.begin_load(key_ids)
        cache.end_load(key_ids[0], replace(RECORD, id=key_ids[0]))
        cache.end_load(key_ids[1], None)
        cache.abandon_load(key_ids[2:])


def addresses(_: ManualClock) -> Iterator[Any]:
    yield (known := ClientAddresses(())), 10_000
    for number in range(ENTRIES):
        known.trusts(str(ip_address(number)))


def families(_: ManualClock) -> Iterator[Any]:
    yield (known := ledger.Families()), ledger.FAMILIES_MAX
    for number in range(ledger.FAMILIES_MAX + ENTRIES):
        subject = f"{number}"
        known.unsent[subject] = known.find(subject)


def lockout(clock: ManualClock) -> Iterator[Any]:
    yield (known := Lockout(clock)), PAIRS_MAX
    for number in range(ENTRIES):
        known.failed(str(ip_address(number)), f"{number}", "x")
        known.succeeded(str(ip_address(number)), "other", f"{number}")


def usage(_: ManualClock) -> Iterator[Any]:
    yield (
        (known := UsageCounter(lambda _: True, SIZE)),
        max(SIZE, DENIALS_MAX + ALLOWED_MAX + 1) + 1,
    )
    for number in range(ENTRIES):
        name = f"{number}"
        known.count(name, name, "VALID")
        for check in ("core", ""):
            kind = (name, name, "FORBIDDEN", check, 403)
            if not known.represent(kind):
                known.record(kind, RecordedRequest(0.0))


def usage_metrics(clock: ManualClock) -> Iterator[Any]:
    yield (known := UsageMetrics("x", clock, lambda _: None)), CORES_MAX + 1
    for number in range(ENTRIES):
        known.add(UsageBatch("x", number, 0.0, (UsageRow("", f"{number}", "VALID", 0, 1),)))
    clock.advance(METRICS_INTERVAL_S)
    known.add(UsageBatch("x", ENTRIES, 0.0, ()))


async def credentials(clock: ManualClock) -> Any:
    unused: Any = None
    yield (known := Credentials(unused, "", clock.monotonic, lambda *_: None)), 0
    for number in range(SIZE):
        with contextlib.suppress(Unavailable):
            await known.find(f"{number}", CoreSettings(credential_header="X-Key"))
    await known.refresh(lambda _: DEFAULT_SETTINGS)


def traffic(_: ManualClock) -> Iterator[Any]:
    """Instances that have no requests any more, and those that no longer exist."""
    yield (known := InstanceTraffic()), 0
    for number in range(ENTRIES):
        known.responded("docs", f"{number}", 0.1)
    for _interval in range(INTERVALS + 1):
        known.end_interval(lambda _, name: instance(name) if int(name) % 2 else None, states=None)


async def owners(_: ManualClock) -> Any:
    yield (known := RequestLimits(SIZE, 1)), 0
    for number in range(ENTRIES):
        async with known.request(f"{number}"):
            pass


FILLED: dict[type, Callable[[ManualClock], Any]] = {
    RecordCache: key_cache,
    ClientAddresses: addresses,
    ledger.Families: families,
    Lockout: lockout,
    UsageCounter: usage,
    UsageMetrics: usage_metrics,
    Credentials: credentials,
    InstanceTraffic: traffic,
    RequestLimits: owners,
}
#: A revoked key is never allowed again, whatever is filled.
FINAL = "features/verification/cache.py:KeyCache._revoked"


def attributes(owner: type) -> list[str]:
    """The containers of a class."""
    file = owner.__module__.removeprefix("gatehouse.").replace(".", "/")
    start = f"{file}.py:{owner.__name__}."
    return [key for key in registries() if key.startswith(start) and key != FINAL]


@pytest.mark.parametrize("owner", FILLED)
async def test_size_is_bounded_after_many_entries(owner: type) -> None:
    steps = FILLED[owner](ManualClock())
    if isinstance(steps, Iterator):
        known, size_max = next(steps)
        assert next(steps, None) is None
    else:
        known, size_max = await anext(steps)
        assert await anext(steps, None) is None
    names = [key.rpartition(".")[2] for key in attributes(owner)]
    containers = {name: getattr(known, name) for name in names}
    sizes = {name: len(each) for name, each in containers.items() if isinstance(each, Sized)}
    assert sizes
    assert max(sizes.values()) <= size_max, sizes


def test_each_registry_loses_entries() -> None:
    found = registries()
    assert len(found) > 40
    filled = {key for owner in FILLED for key in attributes(owner)}
    assert {key for key, is_bounded in found.items() if not is_bounded} - filled == {*DEPLOYED}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("self.known[key] = 1", False),
        ("self.known.add(key)", False),
        ("self.known += [key]", False),
        ("del self.known[key]", True),
        ("self.known -= {key}", True),
        ("task.add_done_callback(self.known.discard)", True),
        ("found, self.known = self.known, {}", True),
    ],
)
def test_registry_that_only_grows_is_found(text: str, *, expected: bool) -> None:
    source = "class A:\n def __init__(self):\n  self.known = {}\n"
    tree = ast.parse(f"{source} def use(self, key, task):\n  {text}")
    assert loses_entries(tree.body[0], "known") is expected
