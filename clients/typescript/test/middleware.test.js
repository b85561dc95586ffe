/** The middleware at a running gateway: GATEWAY is its URL; READ is a key, LIMITED_* and CREDITS_* are keys with a limit of 1
 * and with 5 credits. */
import assert from "node:assert/strict";
import { createServer, request as send } from "node:http";
import { after, before, describe, test } from "node:test";
import { GatewayClient } from "@gatehouse/client";
import { requireKey as expressKey } from "@gatehouse/client/express";
import { requireKey as fastifyKey } from "@gatehouse/client/fastify";
import { requireKey as honoKey } from "@gatehouse/client/hono";
import { listening, READ as SCOPE, SERVICES } from "./services.js";

const { GATEWAY, READ } = process.env;
const gateway = new GatewayClient(GATEWAY);
const balance = async (key) => (await gateway.verify(key, { cost: 0 })).credits.remaining;

for (const name of ["express", "fastify", "hono"]) {
  describe(name, () => {
    let url, stop;
    const limited = process.env[`LIMITED_${name.toUpperCase()}`];
    before(async () => ([url, stop] = await SERVICES[name](gateway, ".")));
    after(() => stop());
    const send = (path, headers = {}, method = "GET") => fetch(url + path, { method, headers });

    test("an allowed request has the customer and the limits", async () => {
      for (const headers of [{ Authorization: `bearer ${READ}` }, { "X-API-Key": READ }]) {
        const reply = await send("/api/orders", headers);
        assert.deepEqual([reply.status, await reply.text()], [200, "orders of shop"]);
        assert.match(reply.headers.get("ratelimit"), /^"requests";r=/);
      }
    });

    test("a denied request has a problem document and the headers of its status", async () => {
      const missing = await send("/api/orders");
      assert.equal(missing.headers.get("www-authenticate"), 'Bearer realm="gatehouse"');
      const unknown = await send("/api/orders", { "X-API-Key": "nonsense" });
      assert.match(unknown.headers.get("www-authenticate"), /error="invalid_token"$/);
      const scope = await send("/api/orders", { "X-API-Key": READ }, "POST");
      await send("/api/orders", { "X-API-Key": limited });
      const exceeded = await send("/api/orders", { "X-API-Key": limited });
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
        const reply = await send("/api/orders", headers);
        const text = await reply.text();
        assert.deepEqual([reply.status, JSON.parse(text).code], [400, "bad_request"]);
        assert.ok(!text.includes(READ));
      }
    });

    test("a route without a guard needs no key", async () => {
      const reply = await send("/health");
      assert.deepEqual([reply.status, await reply.text()], [200, "orders of undefined"]);
    });
  });

  test(`several guards of ${name} charge a request once`, async () => {
    const key = process.env[`CREDITS_${name.toUpperCase()}`]; // without the scope for POST
    const [url, stop] = await SERVICES[name](gateway, ".", SCOPE);
    try {
      for (const [method, path, status, remaining] of [
        ["GET", "/api/orders", 200, 4],
        ["HEAD", "/api/items/a", 200, 3],
        ["GET", "/missing", 404, 2],
        ["POST", "/api/orders", 403, 1], // the second guard denies what the first charged
        ["GET", "/mounted/api/orders", 200, 0], // with the last credit
        ["GET", "/api/items/a", 402, 0],
      ]) {
        const reply = await fetch(url + path, { method, headers: { "X-API-Key": key } });
        assert.equal(reply.status, status, `${method} ${path}`);
        assert.equal(await balance(key), remaining, `${method} ${path}`);
      }
    } finally {
      await stop();
    }
  });
}

test("options are checked when a guard is created", () => {
  const scopes = () => ["orders:read"];
  for (const options of [{ scopes }, { scopes: "orders:read" }, { scopes: [scopes] }, { scope: [] }, ["orders:read"], scopes]) {
    for (const requireKey of [expressKey, fastifyKey, honoKey]) {
      assert.throws(() => requireKey(gateway, options), /guard each route/);
    }
  }
});

describe("without a gateway", () => {
  /** A server that calls `respond`; the functions receive its URL. */
  const withServer = async (respond, use) => {
    const [url, stop] = await listening(createServer(respond));
    try {
      await use(url);
    } finally {
      stop();
    }
  };

  test("a verification whose response is lost is not repeated", async () => {
    const key = process.env.CREDITS;
    const previous = await balance(key);
    const lose = (request, response) => {
      const forwarded = send(`${GATEWAY}${request.url}`, { method: "POST", agent: false }, (reply) => {
        reply.destroy(); // the verification is counted
        response.destroy();
      });
      request.pipe(forwarded);
    };
    await withServer(lose, async (url) => {
      assert.equal((await new GatewayClient(url).verify(key)).code, "UNAVAILABLE");
    });
    assert.equal(await balance(key), previous - 1);
  });

  test("a URL without a scheme is rejected", () => {
    assert.throws(() => new GatewayClient("gateway:8080"), /the URL of the gateway must be/);
  });
});
