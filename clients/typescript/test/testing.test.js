/** The fake gateway decides as a running one: DOCS is a key with 5 credits, for the Core docs and the method GET. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";
import express from "express";
import { ApiError, GatewayClient } from "@gatehouse/client";
import { requireKey } from "@gatehouse/client/express";
import { FakeGateway } from "@gatehouse/client/testing";
import { listening } from "./services.js";

const { DOCS, GATEWAY } = process.env;

test("the fake gateway decides as a running one", async () => {
  const key = { scopes: ["orders:read"], customer_id: "shop", credits: 5, cores: ["docs"], methods: ["GET"] };
  const fake = new FakeGateway({ [DOCS]: key });
  const requests = [
    [DOCS, { scopes: ["orders:read"], core: "docs", method: "GET", cost: 2 }],
    [DOCS, { scopes: ["orders:write"], core: "docs", method: "POST" }],
    [DOCS, { scopes: ["orders:write"], core: "other" }],
    [DOCS, { scopes: ["orders:read", "orders:write"] }],
    [DOCS, { cost: 0 }],
    [DOCS, { cost: 4 }],
    [DOCS, { cost: 3 }],
    [DOCS, {}],
    ["unknown", {}],
  ];
  const gateways = [fake, new GatewayClient(GATEWAY)];
  for (const [token, request] of requests) {
    const [expected, actual] = await Promise.all(gateways.map((each) => each.verify(token, request)));
    for (const name of ["valid", "code", "status", "customer_id", "scopes", "environment"]) {
      assert.deepEqual(actual[name], expected[name], `${name} of ${JSON.stringify(request)}`);
    }
    assert.equal(actual.credits?.remaining, expected.credits?.remaining);
    assert.deepEqual(Object.keys(actual.headers).includes("WWW-Authenticate"), actual.status === 401);
  }
  assert.deepEqual(fake.requests.map(({ token }) => token), requests.map(([token]) => token));
});

test("a service is tested without a gateway", async () => {
  const fake = new FakeGateway({ good: { customer_id: "shop" }, limited: { code: "RATE_LIMITED" } });
  const app = express().get("/", requireKey(fake), (request, response) => response.send(request.gatehouse.customer_id));
  const [url, stop] = await listening(createServer(app));
  try {
    const get = (key) => fetch(url, { headers: { "X-API-Key": key } });
    assert.equal(await (await get("good")).text(), "shop");
    const limited = await get("limited");
    assert.deepEqual([limited.status, limited.headers.get("retry-after")], [429, "1"]);
    assert.equal((await get("unknown")).status, 401);
    fake.isDown = true;
    assert.equal((await get("good")).status, 503);
  } finally {
    stop();
  }
});

test("subjects use up limits of the fake gateway", async () => {
  const fake = new FakeGateway({}, { "sign-in": 2 });
  const client = new GatewayClient("http://127.0.0.1:1");
  client.take = fake.take.bind(fake); // of a service that has created its client
  assert.equal((await client.take("sign-in", "a", { cost: 2, dryRun: true })).allowed, true);
  const results = [];
  for (let i = 0; i < 3; i++) results.push(await client.take("sign-in", "a"));
  assert.deepEqual(results.map(({ allowed }) => allowed), [true, true, false]);
  assert.equal((await client.take("sign-in", "b")).allowed, true);
  await assert.rejects(client.take("missing", "a"), ApiError);
});
