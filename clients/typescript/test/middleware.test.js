/** The middleware at a running gateway: GATEWAY is its URL; READ is a key, LIMITED_* and CREDITS_* are keys with a limit of 1
 * and with 5 credits. */
import assert from "node:assert/strict";
import { createServer, request as send } from "node:http";
import { after, before, describe, test } from "node:test";
import { GatewayClient } from "@gatehouse/client";
import { requireKey as expressKey } from "@gatehouse/client/express";
import { requireKey as fastifyKey } from "@gatehouse/client/fastify";
import { requireKey as honoKey } from "@gatehouse/client/hono";
import cors from "cors";
import express from "express";
import fastify from "fastify";
import fastifyCors from "@fastify/cors";
import { serve } from "@hono/node-server";
import { Hono } from "hono";
import { cors as honoCors } from "hono/cors";
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

for (const name of ["express", "fastify", "hono"]) {
  test(`a route of ${name} has a cost, a Core and a header`, async () => {
    const key = process.env[`PRICED_${name.toUpperCase()}`]; // with 9 credits, for the Core docs
    for (const [scope, remaining] of [[undefined, 4], [SCOPE, 3]]) {
      const [url, stop] = await SERVICES[name](gateway, ".", scope);
      try {
        // The second application charges 1 before the route, which charges the rest.
        const get = (path, headers) => fetch(url + path, { headers });
        const first = await get("/mounted/priced", { "X-API-Key": key });
        assert.equal(first.status, scope ? 402 : 200);
        assert.equal(await balance(key), remaining);
        const other = await get("/mounted/priced", { "X-API-Key": process.env.OTHER_CORE });
        assert.deepEqual([other.status, (await other.json()).code], [403, "FORBIDDEN"]);
        const partner = { "X-Partner-Key": process.env.PARTNER, Authorization: "Bearer of a user", "X-API-Key": "other" };
        if (scope === undefined) {
          assert.equal((await get("/mounted/partner", partner)).status, 200);
          const missing = await get("/mounted/partner", { "X-API-Key": process.env.PARTNER });
          assert.equal(missing.status, 401);
          assert.match((await missing.json()).detail, /`X-Partner-Key: <key>`/);
        }
      } finally {
        await stop();
      }
    }
  });
}

/** CORS middleware answers preflights, which have no key, and stands before the guard. */
const CORS = {
  express: (origin) => {
    const app = express();
    app.use(cors({ origin }), expressKey(gateway));
    return listening(createServer(app.get("/", (request, response) => response.send(""))));
  },
  fastify: async (origin) => {
    const app = fastify();
    await app.register(fastifyCors, { origin });
    app.addHook("onRequest", fastifyKey(gateway));
    app.get("/", () => "");
    return [await app.listen({ host: "127.0.0.1", port: 0 }), () => app.close()];
  },
  hono: async (origin) => {
    const app = new Hono().use(honoCors({ origin }), honoKey(gateway)).get("/", (context) => context.text(""));
    const server = await new Promise((resolve) => {
      const started = serve({ fetch: app.fetch, hostname: "127.0.0.1", port: 0 }, () => resolve(started));
    });
    return [`http://127.0.0.1:${server.address().port}`, () => server.close()];
  },
};
for (const [name, start] of Object.entries(CORS)) {
  test(`browsers can read denials behind CORS middleware of ${name}`, async () => {
    const [url, stop] = await start("https://shop.test");
    try {
      const headers = { Origin: "https://shop.test", "Access-Control-Request-Method": "GET", Connection: "close" };
      const preflight = await fetch(url, { method: "OPTIONS", headers });
      const denied = await fetch(url, { headers });
      assert.deepEqual([preflight.status, denied.status], [204, 401]);
      for (const reply of [preflight, denied]) {
        assert.equal(reply.headers.get("access-control-allow-origin"), "https://shop.test");
      }
    } finally {
      await stop();
    }
  });
}

test("options are checked when a guard is created", () => {
  for (const options of [{ cost: -1 }, { cost: 1.5 }, { core: "" }, { core: ["docs"] }, { keyHeader: "X Key" }, { keyHeader: "" }]) {
    const [name] = Object.keys(options);
    for (const requireKey of [expressKey, fastifyKey, honoKey]) assert.throws(() => requireKey(gateway, options), new RegExp(name));
  }
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
