"""An MCP server with sessions."""

import sys

from mcp.server.mcpserver import MCPServer

server = MCPServer("numbers")


@server.tool()
def add(first: int, second: int) -> int:
    return first + second


server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
