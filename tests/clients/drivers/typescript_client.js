/** Driver of the TypeScript client, in whose folder it is. Reads a call from each line of standard input, and writes its
 * outcome as a line of JSON (tests/clients/behaviour.py). */
import { createInterface } from "node:readline";
import { inspect } from "node:util";
import { requireKey } from "./express.js";
import { ConsoleClient, GatewayClient, sign } from "./index.js";

const camelCase = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
const lowercase = (headers) =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));

let logged = [];
for (const level of ["log", "warn", "error"]) console[level] = (...values) => log(...values);
const log = (...values) => logged.push(inspect(values, { depth: 9, showHidden: true }));

class Missing extends Error {}

const OPERATIONS = {
  async verify(gateway, { token, ...request }) {
    return decided(await gateway.verify(token, request));
  },
  async take(gateway, { takes, dry_run: dryRun }) {
    return decided(await gateway.takeAll(takes, { dryRun }));
  },
  async guard(gateway, { method, headers, scopes, address }) {
    const headersDistinct = {};
    for (const [name, value] of headers) (headersDistinct[name.toLowerCase()] ??= []).push(value);
    const outcome = { raised: false, status: 200, headers: {}, document: null };
    const response = { setHeader: (name, value) => (outcome.headers[name.toLowerCase()] = value) };
    const request = { headersDistinct, method, ip: address };
    await new Promise((resolve, reject) => {
      response.end = (body) => resolve(Object.assign(outcome, { status: response.statusCode, document: JSON.parse(body) }));
      requireKey(gateway, { scopes })(request, response, (error) => (error ? reject(error) : resolve()));
    });
    return outcome;
  },
  async burst(gateway, { count }) {
    const codes = {};
    const results = await Promise.all(Array.from({ length: count }, () => gateway.verify("a")));
    for (const { code } of results) codes[code] = (codes[code] ?? 0) + 1;
    return { raised: false, codes };
  },
};

function decided(result) {
  log(result);
  const { headers, error, ...others } = result;
  const outcome = { raised: false, headers: lowercase(headers), undecided: error !== undefined };
  return { ...outcome, ...others, customer: others.customer_id };
}

/** Calls a method of the console with the arguments of the table, which are named. */
async function managed({ url, token, method, arguments: values }) {
  const client = new ConsoleClient(url, token);
  log(client);
  const { key_id: key, customer_id: customer, idempotency_key: idempotencyKey, version, reason, ...fields } = values;
  const name = camelCase(method);
  const create = { createKey: { ...fields, ...(customer && { customer_id: customer }) }, createCustomer: fields }[name];
  if (method === "keys" || method === "customers") {
    const ids = [];
    for await (const item of client[method](values)) ids.push(item.id);
    return { raised: false, ids };
  }
  if (!(name in client)) throw new Missing(method);
  if (create) log(await client[name](create, { idempotencyKey }));
  else if (version !== undefined) log(await client[name](key ?? customer, version, fields));
  else log(await client[name](key ?? customer, reason ?? (Object.keys(fields).length ? fields : undefined)));
  return { raised: false };
}

async function run(call) {
  const { operation, url, options = {}, arguments: values } = call;
  if (operation === "console") return managed(call);
  if (operation === "sign") {
    const { method, url: target, body, token, private_key: privateKey } = values;
    return { raised: false, headers: lowercase(sign(method, target, { body, token, privateKey })) };
  }
  if (!(operation in OPERATIONS)) throw new Missing(operation);
  const settings = Object.fromEntries(Object.entries(options).map(([name, value]) => [camelCase(name), value]));
  const gateway = new GatewayClient(url, settings);
  log(gateway);
  return OPERATIONS[operation](gateway, values);
}

for await (const line of createInterface({ input: process.stdin })) {
  logged = [];
  let outcome;
  try {
    outcome = await run(JSON.parse(line));
  } catch (error) {
    log(error, error.stack);
    outcome = error instanceof Missing ? { missing: error.message } : { raised: true, status: error.status ?? 0 };
  }
  process.stdout.write(`${JSON.stringify({ ...outcome, texts: logged.join("\n") })}\n`);
}
