/** Every spelling of a request against the router of each framework, at a running gateway: GATEWAY is its URL,
 * SPELLINGS the table, and ALL, WITHOUT_0, ... are keys with credits and all scopes, and without one of them. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { GatewayClient } from "@gatehouse/client";
import { FILES, SCOPES, SERVICES } from "./services.js";

const { ALL, GATEWAY, SPELLINGS } = process.env;
const { methods, targets } = JSON.parse(await readFile(SPELLINGS, "utf8"));
const gateway = new GatewayClient(GATEWAY);
const balance = async () => (await gateway.verify(ALL, { cost: 0 })).credits.remaining;
const files = await mkdtemp(join(tmpdir(), "files-"));
await writeFile(join(files, "a.txt"), "a file");

/** Sends bytes that a client of HTTP would not. Returns the scope of the content, or null. */
function send(url, method, target, key) {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    let text = "";
    const socket = connect(Number(port), hostname).setEncoding("latin1");
    socket.on("data", (data) => (text += data)).on("error", reject).on("close", () => {
      const [head] = text.split("\r\n\r\n");
      assert.match(head, /^HTTP\/1.1 \d{3}/, `${method} ${target}`);
      const scope = /^content: (.*)$/im.exec(head)?.[1] ?? null;
      resolve(scope === null && /^last-modified:/im.test(head) ? FILES : scope);
    });
    const lines = [`${method} ${target} HTTP/1.1`, "Host: service", "Connection: close"];
    socket.write(Buffer.from([...lines, ...(key ? [`X-API-Key: ${key}`] : []), "", ""].join("\r\n")));
  });
}

describe("content needs one decision", () => {
  for (const [name, start] of Object.entries(SERVICES)) {
    test(name, async () => {
      const [url, stop] = await start(gateway, files);
      const served = new Set();
      const decide = async (method, target) => {
        const spelling = `${method} ${target}`;
        assert.ok([null, "open"].includes(await send(url, method, target)), spelling);
        const before = await balance();
        const scope = await send(url, method, target, ALL);
        const charged = before - (await balance());
        if (scope === null || scope === "open") {
          // A guarded application can respond with 404 after the decision.
          assert.ok(charged === 0 || charged === 1, spelling);
          return;
        }
        assert.equal(charged, 1, spelling);
        const other = process.env[`WITHOUT_${SCOPES.indexOf(scope)}`];
        assert.equal(await send(url, method, target, other), null, spelling);
        served.add(scope);
        if (process.env.PRINT) console.log(name, spelling);
      };
      try {
        for (const [kind, list] of Object.entries(targets)) {
          for (const target of list) {
            for (const method of ["GET", ...(methods[kind] ?? [])]) await decide(method, target);
          }
        }
        assert.deepEqual(served, new Set(SCOPES));
      } finally {
        await stop();
      }
    });
  }
});
