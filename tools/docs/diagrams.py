"""A diagram of each stack: its components and the connections between them (.gatehouse/docs/diagrams)."""

from __future__ import annotations

from functools import cache

from sandbox.checks.graph import Graph, graph, mermaid
from sandbox.engine.program import run
from sandbox.engine.providers import FakeProvider
from sandbox.paths import REPOSITORY

STACKS = ("dev", "staging", "prod")
HEAD = """# The {stack} stack

Each box is a component with the number of its AWS resources. A solid arrow is a connection that a security group allows, with its
ports. A dotted arrow is an access through an AWS API. Encryption keys, roles and log groups are omitted.

```mermaid
{drawing}```
"""


@cache
def stack_graph(stack: str) -> Graph:
    """The graph of a stack, from a deployment with fake outputs."""
    return graph(run(REPOSITORY, stack, FakeProvider(), preview=False))


def page(stack: str) -> str:
    """The diagram of a stack as a Markdown page."""
    return HEAD.format(stack=stack, drawing=mermaid(stack_graph(stack)))
