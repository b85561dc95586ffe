"""A diagram of each stack: its components and the connections between them
(.gatehouse/docs/diagrams).
"""

from functools import cache

from sandbox.checks.graph import Graph, graph, mermaid
from tools.docs import markdown
from tools.docs.deployments import deployed


@cache
def stack_graph(stack: str) -> Graph:
    """The graph of a stack, from a deployment with fake outputs."""
    return graph(deployed(stack))


def page(stack: str) -> str:
    """The diagram of a stack as a Markdown page."""
    return markdown.page("diagram", stack=stack, drawing=mermaid(stack_graph(stack)))
