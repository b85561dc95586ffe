// The part of verifications.py in Node.js. Arguments: client, URL of the gateway, count, rounds, concurrency.
import { pathToFileURL } from "node:url";

const [path, url, ...numbers] = process.argv.slice(2);
const [count, rounds, concurrency] = numbers.map(Number);
const { GatewayClient } = await import(pathToFileURL(path));
const client = new GatewayClient(url);
const token = `gtk_test_${"a".repeat(61)}`;
const request = { scopes: ["orders:read"], address: "192.0.2.7", method: "GET" };
const options = { method: "POST", headers: { "Content-Type": "application/json" } };
const programs = {
  "GatewayClient (Node)": () => client.verify(token, request),
  "fetch (Node)": async () => (await fetch(`${url}/v1/keys/verify`, { ...options, body: JSON.stringify({ token, ...request }) })).json(),
};
const results = Object.fromEntries(Object.keys(programs).map((name) => [name, []]));
for (let round = 0; round < rounds; round++) {
  for (const [name, call] of Object.entries(programs)) {
    const repeat = async () => {
      for (let i = 0; i < count / concurrency; i++) await call();
    };
    const start = process.cpuUsage();
    await Promise.all(Array.from({ length: concurrency }, repeat));
    const { user, system } = process.cpuUsage(start);
    results[name].push((user + system) / count / 1000);
  }
}
for (const [name, values] of Object.entries(results)) {
  console.log(`${name.padEnd(20)} ${values.sort((a, b) => a - b)[rounds >> 1].toFixed(2)} ms`);
}
