/** The middleware at a running gateway: GATEWAY is its URL; READ, LIMITED are keys with scopes. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";
import { serve } from "@hono/node-server";
import express from "express";
import fastify from "fastify";
import { Hono } from "hono";
import { ApiError, GatewayClient } from "@gatehouse/client";
import { requireKey as expressKey } from "@gatehouse/client/express";
import { decisionOf, requireKey as fastifyKey } from "@gatehouse/client/fastify";
import { requireKey as honoKey } from "@gatehouse/client/hono";

const { GATEWAY, READ } = process.env;
const gateway = new GatewayClient(GATEWAY);
const scopes = (method, path) =>
  path === "/health" ? null : [method === "GET" ? "orders:read" : "orders:write"];

/** Each starts a service and returns its URL and a function that stops it. */
const SERVICES = {
  async express() {
    const app = express();
    app.use(expressKey(gateway, { scopes }));
    app.all("/{*path}", (request, response) => response.send(`orders of ${request.gatehouse?.owner}`));
    const server = createServer(app);
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    return [`http://127.0.0.1:${server.address().port}`, () => server.close()];
  },
  async fastify() {
    const app = fastify();
    app.addHook("onRequest", fastifyKey(gateway, { scopes }));
    app.all("/*", async (request) => `orders of ${decisionOf(request)?.owner}`);
    return [await app.listen({ host: "127.0.0.1", port: 0 }), () => app.close()];
  },
  async hono() {
    const app = new Hono();
    app.use(honoKey(gateway, { scopes }));
    app.all("/*", (context) => context.text(`orders of ${context.get("gatehouse")?.owner}`));
    const server = await new Promise((resolve) => {
      const started = serve({ fetch: app.fetch, hostname: "127.0.0.1", port: 0 }, () => resolve(started));
    });
    return [`http://127.0.0.1:${server.address().port}`, () => server.close()];
  },
};

for (const [name, start] of Object.entries(SERVICES)) {
  describe(name, () => {
    let url, stop;
    const limited = process.env[`LIMITED_${name.toUpperCase()}`];
    before(async () => ([url, stop] = await start()));
    after(() => stop());
    const send = (path, headers = {}, method = "GET") => fetch(url + path, { method, headers });

    test("an allowed request has the owner and the limits", async () => {
      for (const headers of [{ Authorization: `bearer ${READ}` }, { "X-API-Key": READ }]) {
        const reply = await send("/orders", headers);
        assert.deepEqual([reply.status, await reply.text()], [200, "orders of shop"]);
        assert.match(reply.headers.get("ratelimit"), /^"requests";r=/);
      }
    });

    test("a denied request has a problem document and the headers of its status", async () => {
      const missing = await send("/orders");
      assert.equal(missing.headers.get("www-authenticate"), 'Bearer realm="gatehouse"');
      const unknown = await send("/orders", { "X-API-Key": "nonsense" });
      assert.match(unknown.headers.get("www-authenticate"), /error="invalid_token"$/);
      const scope = await send("/orders", { "X-API-Key": READ }, "POST");
      await send("/orders", { "X-API-Key": limited });
      const exceeded = await send("/orders", { "X-API-Key": limited });
      assert.ok(Number(exceeded.headers.get("retry-after")) > 0);
      assert.match(exceeded.headers.get("ratelimit"), /"requests";r=0/);
      const replies = [missing, unknown, scope, exceeded];
      const documents = await Promise.all(replies.map((reply) => reply.json()));
      assert.deepEqual(
        documents.map(({ status, code }) => [status, code]),
        [
          [401, "unauthorized"],
          [401, "NOT_FOUND"],
          [403, "INSUFFICIENT_PERMISSIONS"],
          [429, "RATE_LIMITED"],
        ],
      );
      replies.forEach((reply, index) => {
        assert.equal(reply.status, documents[index].status);
        assert.equal(reply.headers.get("content-type"), "application/problem+json");
      });
    });

    test("ambiguous and malformed keys are rejected", async () => {
      for (const headers of [
        { "X-API-Key": READ, Authorization: "Bearer other" },
        { "X-API-Key": `${READ}, other` },
        { "X-API-Key": "x".repeat(8000) },
      ]) {
        const reply = await send("/orders", headers);
        const text = await reply.text();
        assert.deepEqual([reply.status, JSON.parse(text).code], [400, "bad_request"]);
        assert.ok(!text.includes(READ));
      }
    });

    test("a path without scopes needs no key", async () => {
      const reply = await send("/health");
      assert.deepEqual([reply.status, await reply.text()], [200, "orders of undefined"]);
    });
  });
}

describe("without a gateway", () => {
  /** A server that calls `respond`; the functions receive its URL. */
  const withServer = async (respond, use) => {
    const server = createServer(respond);
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      await use(`http://127.0.0.1:${server.address().port}`);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  };

  for (const failOpen of [false, true]) {
    test(`the client fails ${failOpen ? "open" : "closed"}`, async () => {
      const silent = withServer(() => {}, async (url) => {
        const result = await new GatewayClient(url, { failOpen, timeoutMs: 50 }).verify("a");
        assert.deepEqual([result.valid, result.code, result.key_id], [failOpen, "UNAVAILABLE", null]);
        assert.equal(result.status, failOpen ? 200 : 503);
      });
      await silent;
    });
  }

  test("a lost connection is replaced once", async () => {
    let requests = 0;
    await withServer((request) => (requests++, request.socket.destroy()), async (url) => {
      assert.equal((await new GatewayClient(url).verify("a")).code, "UNAVAILABLE");
    });
    assert.equal(requests, 2);
  });

  test("another server is an error although the client fails open", async () => {
    for (const [status, text] of [[200, "{}"], [404, "<html>"], [302, ""]]) {
      await withServer((_, response) => response.writeHead(status).end(text), async (url) => {
        const client = new GatewayClient(url, { failOpen: true });
        await assert.rejects(client.verify("secret-token"), (error) => {
          assert.ok(error instanceof ApiError);
          assert.ok(!error.message.includes("secret-token"));
          return true;
        });
      });
    }
  });

  test("a URL without a scheme is rejected", () => {
    assert.throws(() => new GatewayClient("gateway:8080"), /must begin with http/);
  });
});
