/** No text of the client contains the token or a password, in whatever way a request fails. */
import assert from "node:assert/strict";
import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:net";
import { after, before, describe, test } from "node:test";
import { inspect } from "node:util";
import { GatewayClient } from "@gatehouse/client";
import { decider } from "../dist/middleware.js";
import { listening } from "./services.js";

const CANARY = "gtk_live_0canary0canary0canary0canary";
const MALFORMED = ["\n", "\r\nx: y", "\0", "ü", "\ud800", " x"].map((text) => CANARY + text);
const message = (status, body, headers = "") =>
  `HTTP/1.1 ${status} x\r\nconnection: close\r\n${headers}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
const problem = (request) => {
  const body = request.slice(request.indexOf("\r\n\r\n"));
  const text = JSON.stringify(request + JSON.parse(body).token);
  const error = `{"location":${text},"message":${text},"fix":${text}}`;
  return `{"detail":${text},"code":${text},"request_id":${text},"errors":[${error}]}`;
};

/** What a server responds to the text of a request. */
const ANSWERS = {
  problem: (request) => message(400, problem(request)),
  "server error": (request) => message(500, problem(request)),
  redirect: (request) => message(302, "", `location: /${JSON.stringify(request)}\r\n`),
  html: (request) => message(200, `<html>${request}`),
  json: (request) => message(200, problem(request)),
  truncated: (request) => message(200, request).slice(0, -3),
  "not HTTP": (request) => request,
  header: (request) => message(200, "", `${JSON.stringify(request)}\r\n`),
  silent: () => null,
};

for (const [name, answer] of Object.entries(ANSWERS)) {
  describe(name, () => {
    let server, url;
    before(async () => {
      server = createServer((connection) => {
        connection.on("error", () => {});
        connection.once("data", (data) => {
          const text = answer(data.toString());
          if (text !== null) connection.end(text);
        });
      });
      await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
      url = `http://127.0.0.1:${server.address().port}`;
    });
    after(() => server.close());

    for (const token of [CANARY, ...MALFORMED]) {
      test(`does not repeat ${JSON.stringify(token)}`, async () => {
        const logged = [];
        const { log, warn, error } = console;
        for (const level of ["log", "warn", "error"]) {
          console[level] = (...values) => logged.push(inspect(values, { depth: 9 }));
        }
        const options = { timeoutMs: name === "silent" ? 50 : 5000, attempts: 1 };
        const client = new GatewayClient(url, { token: CANARY, ...options });
        try {
          logged.push(inspect(client, { depth: 9, showHidden: true }));
          for (const call of [client.verify(token), client.take("sign-in", token)]) {
            await call.then(
              (result) => logged.push(inspect(result, { depth: 9 })),
              (failure) => logged.push(inspect(failure, { depth: 9, showHidden: true }), failure.stack),
            );
          }
          const request = { source: {}, method: "GET", values: (name) => (name === "x-api-key" ? [token] : []) };
          logged.push(inspect(await decider(client, {})(request), { depth: 9 }));
        } finally {
          Object.assign(console, { log, warn, error });
        }
        assert.deepEqual(logged.filter((text) => text.includes(CANARY)), []);
      });
    }
  });
}

test("a URL with a credential is refused without its value", () => {
  const urls = [CANARY, `http://user:${CANARY}@a`, `http://${CANARY}@a`, `http://a#${CANARY}`];
  for (const url of [...urls, `http://a?${CANARY}`, `http://a:${CANARY}`, `ftp://${CANARY}`, "", undefined]) {
    assert.throws(
      () => new GatewayClient(url),
      (error) => /the URL of the gateway/.test(error.message) && !inspect(error).includes(CANARY),
    );
  }
});

test("white space around a token is removed", async () => {
  const tokens = new Set();
  const receive = async (request, response) => {
    tokens.add(JSON.parse(Buffer.concat(await request.toArray())).token);
    response.writeHead(500).end();
  };
  const [url, stop] = await listening(createHttpServer(receive));
  try {
    const client = new GatewayClient(url);
    for (const token of [`${CANARY}\n`, ` ${CANARY}\r\n`, `\ufeff${CANARY}`]) await client.verify(token);
    assert.deepEqual(tokens, new Set([CANARY]));
  } finally {
    stop();
  }
});
