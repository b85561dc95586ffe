"""docs/diagrams/<stack>.md: the components of a stack and who talks to whom, drawn from the deployed graph."""

from __future__ import annotations

from functools import cache

from sandbox.clouds import InventedCloud
from sandbox.engine import run
from sandbox.graph import Graph, graph, mermaid
from sandbox.journal import REPOSITORY

STACKS = ("dev", "staging", "prod")
HEAD = """# The {stack} stack

One box a component, by tier, with the number of AWS resources in it. A solid arrow is a connection that a security group lets
through, with its ports; a dotted one is what a component does to another through AWS. Every store is encrypted by a key of the
Keyring, every role is in Access, every process logs to CloudWatch: those arrows are left out, because they would be everywhere.

```mermaid
{drawing}```

As a file: `python -m sandbox graph --env {stack} --format svg --output {stack}.svg`. What each component is for stands in its
file in [components](../../components).
"""


@cache
def drawn(stack: str) -> Graph:
    """The graph of a stack."""
    return graph(run(REPOSITORY, stack, InventedCloud(), preview=False))


def page(stack: str) -> str:
    """The page without the word on top."""
    return HEAD.format(stack=stack, drawing=mermaid(drawn(stack)))
