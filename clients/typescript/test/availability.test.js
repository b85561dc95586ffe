/** Limits of a running gateway, and parameters with which no request can be sent. The table of tests/clients/behaviour.py
 * has the states of a gateway. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";
import { ApiError, GatewayClient } from "@gatehouse/client";
import { listening } from "./services.js";

const VALID = JSON.stringify({ valid: true, code: "VALID", request_id: "req_1", limits: [], reason: null, scopes: null });

test("units of limits are counted for subjects", async () => {
  const { url, token, limit } = JSON.parse(process.env.TAKE);
  const client = new GatewayClient(url, { token: `${token}\n` });
  assert.ok((await client.take(limit, "user 1", { cost: 2, dryRun: true })).allowed);
  const results = [];
  for (let i = 0; i < 3; i++) results.push(await client.take(limit, "user 1"));
  assert.deepEqual(results.map(({ allowed }) => allowed), [true, true, false]);
  assert.ok(results[0].headers.RateLimit.startsWith(`"${limit}";r=1;t=`));
  assert.ok(Number(results[2].headers["Retry-After"]) > 0);
  const both = await client.takeAll([{ limit, subject: "user 2", cost: 2 }, { limit, subject: "user 3" }]);
  assert.deepEqual(both.limits.map(({ remaining }) => remaining), [0, 1]);
  assert.equal((await client.verify(token)).valid, true);
  for (const [other, name, status] of [[token, "missing", 404], [`x${token}`, limit, 401], ["", limit, 401]]) {
    await assert.rejects(new GatewayClient(url, { token: other, failOpen: true }).take(name, "a"), (error) => {
      assert.ok(error instanceof ApiError && !(other && error.message.includes(other)));
      return error.status === status;
    });
  }
  assert.throws(() => new GatewayClient(url, { token: "a b" }), TypeError);
});

const URL = "http://127.0.0.1:1";

/** The results of verifications by a client with a cache, and the number of those that reached the gateway. */
async function cached(options, requests, decision = {}) {
  let count = 0;
  const text = JSON.stringify({ ...JSON.parse(VALID), credits: null, shared_credits: null, expires_at: null, staleness_ms: 0, ...decision });
  const [url, stop] = await listening(createServer((request, response) => (count++, response.end(text))));
  try {
    const client = new GatewayClient(url, options);
    const results = [];
    for (const [token, request] of requests) results.push(await client.verify(token, request));
    return [results, count];
  } finally {
    stop();
  }
}

test("allowed decisions are cached for each request", async () => {
  const on = { cacheMs: 60_000 };
  const [results, count] = await cached(on, [["a", { scopes: ["x", "y"] }], ["a", { scopes: ["y", "x"] }]]);
  assert.deepEqual([count, results[1].valid, results[1].headers, results[1].limits], [1, true, {}, []]);
  const others = [{}, { scopes: ["x"] }, { core: "docs" }, { cost: 2 }, { address: "::1" }, { method: "GET" }];
  const requests = [...others.map((request) => ["a", request]), ["b", {}]];
  assert.equal((await cached(on, [...requests, ...requests]))[1], requests.length);
  assert.equal((await cached({}, [["a"], ["a"]]))[1], 2);
});

for (const [name, decision, request] of [
  ["denied", { valid: false, code: "RATE_LIMITED" }, {}],
  ["credits", { credits: { remaining: 5 } }, {}],
  ["shared credits", { shared_credits: { remaining: 5 } }, {}],
  ["expired", { expires_at: "2000-01-01T00:00:00Z" }, {}],
  ["signed", {}, { request: { method: "GET", url: "http://a", headers: [] } }],
]) {
  test(`a decision is not cached: ${name}`, async () => {
    assert.equal((await cached({ cacheMs: 60_000 }, [["a", request], ["a", request]], decision))[1], 2);
  });
}

test("the lifetime of cached decisions has a bound", () => {
  for (const cacheMs of [-1, 60_001, NaN]) assert.throws(() => new GatewayClient("http://a", { cacheMs }), /cacheMs/);
});

test("a request that cannot be sent is an error", async () => {
  const client = new GatewayClient(URL, { failOpen: true });
  await assert.rejects(client.verify(undefined), TypeError);
  await assert.rejects(client.verify("a", { cost: 1n }), TypeError);
  for (const name of ["timeoutMs", "responseTimeoutMs", "inProgressMax", "attempts"]) {
    assert.throws(() => new GatewayClient(URL, { failOpen: true, [name]: 0 }), TypeError);
  }
});
