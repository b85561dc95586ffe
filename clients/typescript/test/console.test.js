/** Keys and customers, at a running console: CONSOLE is its URL, ADMIN a credential. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";
import { inspect } from "node:util";
import { ApiError, ConsoleClient, GatewayClient } from "@gatehouse/client";
import { listening } from "./services.js";

const { ADMIN, CONSOLE, GATEWAY } = process.env;
const gateway = new GatewayClient(GATEWAY);
const client = new ConsoleClient(CONSOLE, `${ADMIN}\n`);
const all = async (items) => {
  const list = [];
  for await (const item of items) list.push(item);
  return list;
};

test("keys are created, read, changed, rotated and revoked", async () => {
  const settings = { name: "console test", scopes: ["orders:read"], customer_id: "console-test", create_customer: true };
  const { key, token } = await client.createKey(settings, { idempotencyKey: 'order "17"' });
  assert.equal((await client.createKey(settings, { idempotencyKey: 'order "17"' })).key.id, key.id);
  assert.equal((await client.key(key.id)).name, "console test");
  await client.createKey({ ...settings, name: "second" });
  const names = (await all(client.keys({ customer: "console-test", limit: 1 }))).map(({ name }) => name);
  assert.deepEqual(names.sort(), ["console test", "second"]);
  const changed = await client.updateKey(key.id, key.version, { name: "renamed" });
  assert.equal(changed.key.name, "renamed");
  await assert.rejects(client.updateKey(key.id, key.version, { name: "again" }), { status: 412 });
  assert.equal((await client.disableKey(key.id, "test")).key.state, "disabled");
  await client.enableKey(key.id);
  const rotated = await client.rotateKey(key.id, { grace_s: 3600 });
  assert.ok((await gateway.verify(rotated.token, { scopes: ["orders:read"] })).valid);
  assert.ok((await gateway.verify(token)).valid);
  assert.ok((await client.revokeKey(rotated.key.id, "test")).effective);
  assert.equal((await gateway.verify(rotated.token)).code, "NOT_FOUND");
  await assert.rejects(client.key("missing00000"), { status: 404 });
});

test("customers are created, read, changed, disabled, deleted, restored and purged", async () => {
  const customer = await client.createCustomer({ id: "a:b@c", name: "Shop" });
  await assert.rejects(client.createCustomer({ id: "a:b@c" }), { status: 409 });
  const { token } = await client.createKey({ name: "a key", customer_id: customer.id });
  const changed = await client.updateCustomer(customer.id, customer.version, { name: "Store" });
  assert.equal(changed.customer.name, "Store");
  assert.equal((await client.customer(customer.id)).keys, 1);
  assert.ok((await all(client.customers())).some(({ id }) => id === customer.id));
  await client.disableCustomer(customer.id);
  assert.equal((await gateway.verify(token)).valid, false);
  await client.enableCustomer(customer.id);
  await client.deleteCustomer(customer.id, "contract ended");
  await client.restoreCustomer(customer.id);
  await client.deleteCustomer(customer.id);
  assert.equal((await client.purgeCustomer(customer.id)).keys_left, 0);
  await assert.rejects(client.customer(customer.id), { status: 404 });
});

test("an ID selects one resource and contains no token", () => {
  const [console, token] = ["http://127.0.0.1:1", "gtk_live_0canary0canary0canary0canary"];
  const other = new ConsoleClient(console, "a");
  for (const id of ["", ".", ".."]) assert.throws(() => other.key(id), TypeError);
  return assert.rejects(other.key(token), (error) => error instanceof TypeError && !inspect(error).includes(token));
});

for (const [name, status, code, expected] of [
  ["503", 503, "unavailable", 3],
  ["429", 429, "rate_limited", 3],
  ["in progress", 409, "request_in_progress", 3],
  ["conflict", 409, "conflict", 1],
  ["400", 400, "bad_request", 1],
  ["lost", 0, "", 3],
]) {
  test(`a request with an idempotency key is repeated: ${name}`, async () => {
    const keys = [];
    const respond = (request, response) => {
      keys.push(request.headers["idempotency-key"]);
      if (status === 0) return response.destroy();
      const detail = `${request.headers.authorization} ${keys[0]}`;
      response.writeHead(status, { "Retry-After": "0" }).end(JSON.stringify({ code, detail }));
    };
    const [url, stop] = await listening(createServer(respond));
    try {
      const other = new ConsoleClient(url, "canary-token", { attempts: 3 });
      await assert.rejects(other.createKey({ name: "a" }), (error) => {
        assert.ok(error instanceof ApiError && !/canary|[0-9a-f-]{36}/.test(inspect(error)));
        return error.status === status && error.code === code;
      });
      assert.equal(keys.length, expected);
      assert.equal(new Set(keys).size, 1);
      keys.length = 0;
      if (status !== 0) return;
      await assert.rejects(other.updateKey("a", 1, {}), { status: 0 }); // may have been executed
      assert.equal(keys.length, 1);
    } finally {
      stop();
    }
  });
}
