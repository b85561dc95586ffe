// Calls a tool in a session with the official SDK.
import assert from "node:assert";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const headers = { Authorization: `Bearer ${process.env.TOKEN}` };
const client = new Client({ name: "test", version: "1.0.0" });
const transport = new StreamableHTTPClientTransport(new URL(`${process.env.URL}/mcp`), { requestInit: { headers } });
await client.connect(transport);
assert(transport.sessionId);
const result = await client.callTool({ name: "add", arguments: { first: 2, second: 3 } });
assert.equal(result.content[0].text, "5");
await transport.terminateSession();
await client.close();
