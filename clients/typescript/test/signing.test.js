/** Signatures, at a running gateway: SIGNED is a key with the public key of PRIVATE_KEY. */
import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import { test } from "node:test";
import { inspect } from "node:util";
import { GatewayClient, sign } from "@gatehouse/client";

const { GATEWAY, PRIVATE_KEY: privateKey, SIGNED: token } = process.env;
const gateway = new GatewayClient(GATEWAY);

for (const [sent, url] of [
  ["https://API.example.com:443/v1/orders?dry=1#part", "https://api.example.com/v1/orders?dry=1"],
  ["http://api.example.com:8080?", "http://api.example.com:8080/"],
  ["http://[::1]/%2F/ü?a=%20 b", "http://[::1]/%2F/%C3%BC?a=%20%20b"],
]) {
  for (const body of [undefined, "{}", new Uint8Array([0, 255])]) {
    test(`a signature is valid once: ${sent} ${inspect(body)}`, async () => {
      const signed = sign("post", sent, { token, privateKey, ...(body && { body }) });
      const digest = body && createHash("sha256").update(body).digest("base64");
      const request = { method: "POST", url, headers: Object.entries(signed), body_sha256: digest ?? null };
      assert.equal((await gateway.verify(token, { request })).code, "VALID");
      const again = await gateway.verify(token, { request });
      assert.deepEqual([again.code, again.reason], ["SIGNATURE_INVALID", "signature_replayed"]);
    });
  }
}

test("malformed arguments are refused without their values", () => {
  const canary = randomUUID();
  const valid = { token, privateKey };
  for (const [method, url, options] of [
    ["GET", "http://a", { ...valid, token: canary }],
    ["GET", "http://a", { ...valid, privateKey: `-----BEGIN PRIVATE KEY-----\n${canary}` }],
    ["GET", `/${canary}`, valid],
    ["GET", `http://user:${canary}@a`, valid],
    [`${canary}"`, "http://a", valid],
    ["GET", "http://a", { ...valid, nonce: `${canary}\n` }],
  ]) {
    assert.throws(
      () => sign(method, url, options),
      (error) => error instanceof TypeError && !inspect(error).includes(canary),
    );
  }
});
