"""Each registry of a long-lived object has a bound for entries that nobody ends."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import gatehouse

ROOT = Path(gatehouse.__file__).parent
BOUNDS: dict[str, str] = tomllib.loads(Path(__file__).with_name("registries.toml").read_text())
CONTAINERS = {
    *("Counter", "OrderedDict", "Pending", "WeakValueDictionary", "defaultdict", "deque", "dict"),
    *("list", "set", "Condition", "Event", "Future", "Lock", "Queue", "Semaphore"),
}
#: Objects that live as long as a request, a message, a response, a connection or a command.
SHORT = {
    *("Conditions", "Facts", "Stream._fields", "Request", "RefusalConnection", "ImportJob"),
    *("Link", "Key", "KeySettings", "Endpoint", "Api", "Table", "Settings", "_Cluster"),
    *("_Clusters", "Registration", "GatewaySecrets"),
}


def container(value: ast.expr | None) -> str:
    """Name of the type of an empty container that an expression creates, or "" for others."""
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
            yield from ((target, node.value, "") for target in node.targets)


def registries() -> dict[str, str]:
    """The types of the containers in attributes, and in variables of modules that are changed."""
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
                    found[f"{file}:{owner.name}.{attribute}"] = kind
        for node in tree.body:
            for target, value, _ in assigned(node) if not isinstance(node, ast.ClassDef) else ():
                is_top = isinstance(target, ast.Name) and target.col_offset == node.col_offset
                if is_top and (kind := container(value)):
                    found[f"{file}:{ast.unparse(target)}"] = kind
    return found


def test_each_registry_has_a_bound() -> None:
    found = registries()
    assert len(found) > 40
    assert sorted(found.keys() - BOUNDS.keys()) == []
    assert sorted(BOUNDS.keys() - found.keys()) == []
    pending = {key for key, bound in BOUNDS.items() if bound == "pending"}
    assert pending == {key for key, kind in found.items() if kind == "Pending"} | {
        "platform/pending.py:Pending._entries"
    }
