/** Limits of a running gateway, and parameters with which no request can be sent. The table of tests/clients/behaviour.py
 * has the states of a gateway. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiError, GatewayClient } from "@gatehouse/client";

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

test("a request that cannot be sent is an error", async () => {
  const client = new GatewayClient(URL, { failOpen: true });
  await assert.rejects(client.verify(undefined), TypeError);
  await assert.rejects(client.verify("a", { cost: 1n }), TypeError);
  for (const name of ["timeoutMs", "responseTimeoutMs", "inProgressMax", "attempts"]) {
    assert.throws(() => new GatewayClient(URL, { failOpen: true, [name]: 0 }), TypeError);
  }
});
