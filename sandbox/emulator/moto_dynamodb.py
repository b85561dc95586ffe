"""Patches of moto's DynamoDB: atomic calls, limits and properties of the service that moto does not
have, and faster replacements of the code that takes most of the time of a call."""

import base64
import copy
import functools
import threading
import zlib
from collections import deque
from collections.abc import Mapping
from typing import Any

from moto.core.serialize import BaseJSONSerializer
from moto.dynamodb.comparisons import ConditionExpressionParser
from moto.dynamodb.exceptions import MockValidationException
from moto.dynamodb.models.dynamo_type import DynamoType, Item, LimitedSizeDict
from moto.dynamodb.models.utilities import bytesize
from moto.dynamodb.parsing import ast_nodes, expressions, validators
from moto.dynamodb.responses import DynamoHandler

# moto has no type annotations in these modules.
_nodes: Any = ast_nodes
_UpdateExpressionParser: Any = vars(expressions)["UpdateExpressionParser"]
#: Maximum size of an expression in bytes. Source: Amazon DynamoDB Developer Guide, "Quotas in
#: Amazon DynamoDB".
_EXPRESSION_BYTES_MAX = 4096
#: Number of different update expressions that are kept as syntax trees.
_EXPRESSIONS_MAX = 256
_NODE = (_nodes.Node,)
_WITH_CLAUSES = (_nodes.Expression, _nodes.UpdateExpressionFunction)


def patches() -> tuple[tuple[Any, str, Any], ...]:
    """Class, name and new value of each patched attribute.

    - moto evaluates conditions and writes without a lock. Calls run one at a time, so conditional
      updates are atomic.
    - Expressions above 4 KB are rejected. Maps in responses are not in the order in which they were
      written.
    - Copies: `copy.deepcopy` and copies at each level of an item are replaced by one copy of the
      tree of values.
    - Sizes: moto counts each digit of a number, and copies each map each time an attribute of an
      item is set.
    - Expressions: moto parses each update expression and each condition twice for a call, copies
      syntax trees with `copy.deepcopy`, and visits each node of a tree with each of ten processors.
    - Responses: moto serializes attribute values with the generic serializer.
    """
    parse: Any = functools.lru_cache(_EXPRESSIONS_MAX)(
        vars(_UpdateExpressionParser)["make"].__func__
    )
    return (
        (DynamoHandler, "call_action", _one_at_a_time(DynamoHandler.call_action)),
        (DynamoType, "to_regular_json", _attribute_value),
        (DynamoType, "__deepcopy__", lambda value, _memo: _copy(value)),
        (DynamoType, "size", _size),
        (Item, "__deepcopy__", lambda item, _memo: _copy_of_item(item)),
        (_UpdateExpressionParser, "make", classmethod(parse)),
        (_nodes.DepthFirstTraverser, "traverse", _traverse),
        (validators, "deepcopy", _copy_of_tree),
        (_nodes.Node, "find_clauses", _find_clauses),
        (
            ConditionExpressionParser,
            "_lex_condition_expression",
            _cached_lexemes(ConditionExpressionParser),
        ),
        (
            BaseJSONSerializer,
            "_serialize_type_structure",
            _direct_attribute_values(BaseJSONSerializer._serialize_type_structure),
        ),
    )


def _one_at_a_time(original: Any) -> Any:
    lock = threading.Lock()

    @functools.wraps(original)
    def call_action(handler: Any) -> Any:
        _check_expressions(handler.params)
        with lock:
            return original(handler)

    return call_action


def _check_expressions(parameters: Any) -> None:
    if isinstance(parameters, list):
        for item in parameters:
            _check_expressions(item)
    elif isinstance(parameters, dict):
        for name, value in parameters.items():
            if (
                name.endswith("Expression")
                and (size := len(str(value).encode())) > _EXPRESSION_BYTES_MAX
            ):
                message = (
                    f"Invalid {name}: Expression size has exceeded the maximum allowed "
                    f"size; expression size: {size}"
                )
                raise MockValidationException(message)
            if name in ("TransactItems", "Put", "Update", "Delete", "ConditionCheck"):
                _check_expressions(value)


def _without_order(content: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The members of a map in an order that does not depend on the order of writes."""
    return sorted(content.items(), key=lambda member: zlib.crc32(member[0].encode()))


def _copy(value: Any) -> Any:
    copied: Any = DynamoType.__new__(DynamoType)
    copied.type, content = value.type, value.value
    if isinstance(content, dict):
        content = {
            name: _copy(item) if isinstance(item, DynamoType) else item
            for name, item in content.items()
        }
    elif isinstance(content, list):
        content = [_copy(item) if isinstance(item, DynamoType) else item for item in content]
    copied.value = content
    return copied


def _copy_of_item(item: Any) -> Any:
    copied: Any = Item.__new__(Item)
    copied.hash_key = _copy(item.hash_key)
    copied.range_key = item.range_key and _copy(item.range_key)
    copied.attrs = LimitedSizeDict()
    # Without the check of the size, which the attributes passed when they were written.
    dict.update(copied.attrs, {name: _copy(value) for name, value in item.attrs.items()})
    return copied


def _size(value: Any) -> int:
    """The size in bytes. Source: Amazon DynamoDB Developer Guide, "DynamoDB item sizes and
    formats".
    """
    content = value.value
    if isinstance(content, dict):
        return 3 + sum(
            1 + bytesize(name) + _typed(item, "").size() for name, item in content.items()
        )
    if isinstance(content, list):
        return 3 + sum(1 + _typed(item, value.type[0]).size() for item in content)
    if value.is_number():
        return len(str(content).strip("-0.").replace(".", "")) // 2 + 2
    return 1 if isinstance(content, bool) else bytesize(content)


def _typed(item: Any, kind: str) -> DynamoType:
    """A member of a map, list or set. Members of sets have the type `kind`; members of maps can be
    in request form.
    """
    return (
        item
        if isinstance(item, DynamoType)
        else DynamoType(item if isinstance(item, dict) else {kind: item})
    )


def _traverse(traverser: Any, root: Any) -> Any:
    """Process the nodes of a syntax tree, children first. Returns the new root."""
    processors = traverser._processing_map()
    kinds = tuple(processors)
    is_base = (
        type(traverser).pre_processing_of_child
        is _nodes.DepthFirstTraverser.pre_processing_of_child
    )

    def visit(node: Any, child_id: int = -1) -> Any:
        for index, child in enumerate(node.children or ()):
            if not is_base:
                traverser.pre_processing_of_child(node, index)
            if _first_kind(child.__class__, _NODE):
                visit(child, index)
        kind = _first_kind(node.__class__, kinds)
        if kind is None:
            return node
        parent = node.parent
        node = processors[kind](node)
        node.parent = parent
        if parent:
            parent.children[child_id] = node
        return node

    return visit(root)


@functools.cache
def _first_kind(node_type: Any, kinds: tuple[Any, ...]) -> Any:
    """The first of `kinds` that is the type or one of its base classes."""
    return next((kind for kind in kinds if kind in node_type.__mro__), None)


def _copy_of_tree(node: Any, parent: Any = None) -> Any:
    if not _first_kind(node.__class__, _NODE):
        return copy.deepcopy(node)
    copied = object.__new__(type(node))
    copied.__dict__.update(node.__dict__, parent=parent)
    if node.children is not None:
        copied.children = [_copy_of_tree(child, copied) for child in node.children]
    return copied


def _find_clauses(node: Any, clause_types: list[type]) -> list[Any]:
    clauses = []
    for child in node.children or ():
        if type(child) in clause_types:
            clauses.append(child)
        elif _first_kind(child.__class__, _WITH_CLAUSES):
            clauses.extend(_find_clauses(child, clause_types))
    return clauses


def _cached_lexemes(parser: Any) -> Any:
    original = parser._lex_condition_expression

    @functools.lru_cache(_EXPRESSIONS_MAX)
    def lexemes(expression: str | None) -> tuple[Any, ...]:
        return tuple(original(parser(expression, None, None)))

    return lambda instance: deque(lexemes(instance.condition_expression))


def _attribute_value(value: Any) -> dict[str, Any]:
    content = value.value
    if isinstance(content, dict):
        content = {name: _attribute_value(item) for name, item in content.items()}
    elif isinstance(content, list):
        content = [
            _attribute_value(item) if isinstance(item, DynamoType) else item for item in content
        ]
    elif value.is_binary() and isinstance(content, str):
        content = base64.b64decode(content)
    return {value.type: content}


def _direct_attribute_values(original: Any) -> Any:
    """Serialize DynamoDB attribute values directly. Each value has one member and, except for
    binary values, already has the structure of the response."""

    @functools.wraps(original)
    def serialize(serializer: Any, serialized: Any, value: Any, shape: Any, key: str) -> None:
        if shape.name == "AttributeValue" and key:
            serialized[serializer.get_serialized_name(shape, key)] = direct(serializer, value)
        else:
            original(serializer, serialized, value, shape, key)

    def direct(serializer: Any, value: Mapping[str, Any]) -> dict[str, Any]:
        ((kind, content),) = value.items()
        if kind == "B":
            content = serializer._base64(content)
        elif kind == "BS":
            content = [serializer._base64(item) for item in content]
        elif kind == "M":
            content = {name: direct(serializer, item) for name, item in _without_order(content)}
        elif kind == "L":
            content = [direct(serializer, item) for item in content]
        return {kind: content}

    return serialize
