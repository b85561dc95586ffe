/** The same service in each framework. Guards are on routes, and /health needs no key. The service responds with the
 * customer of the key, and with the scope in the field `Content`. */
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { serve } from "@hono/node-server";
import { serveStatic } from "@hono/node-server/serve-static";
import express from "express";
import express4 from "express4";
import fastify from "fastify";
import fastify4 from "fastify4";
import { Hono } from "hono";
import { requireKey as expressKey } from "@gatehouse/client/express";
import { decisionOf, requireKey as fastifyKey } from "@gatehouse/client/fastify";
import { requireKey as honoKey } from "@gatehouse/client/hono";

export const READ = "orders:read";
export const WRITE = "orders:write";
export const ITEMS = "items:read";
export const FILES = "files:read";
export const MOUNTED = "mounted:read";
/** The options of /mounted/priced, and of /mounted/partner. */
export const PRICED = { core: "docs", cost: 5 };
export const PARTNER = { keyHeader: "X-Partner-Key" };
export const SCOPES = [READ, WRITE, ITEMS, FILES, MOUNTED];

const text = (decision) => `orders of ${decision?.customer_id}`;

/** A server on a free port: its URL, and a function that stops it. */
export async function listening(server) {
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const stop = () => (server.closeAllConnections(), server.close());
  return [`http://127.0.0.1:${server.address().port}`, stop];
}

const onExpress = (framework, ...settings) => async (gateway, files, scope) => {
  const requires = (scope, options) => expressKey(gateway, { scopes: [scope], ...options });
  const content = (scope) => (request, response) => response.set("Content", scope).send(text(request.gatehouse));
  const [app, mounted, api] = [framework(), framework(), framework.Router()];
  for (const setting of settings) app.enable(setting);
  if (scope) app.use(requires(scope));
  api.get("/orders", requires(READ), content(READ));
  api.post("/orders", requires(WRITE), content(WRITE));
  api.all("/items/:name", requires(ITEMS), content(ITEMS));
  mounted.get("/api/orders", requires(MOUNTED), content(MOUNTED));
  mounted.get("/priced", requires(MOUNTED, PRICED), content(MOUNTED));
  mounted.get("/partner", requires(MOUNTED, PARTNER), content(MOUNTED));
  app.use("/api", api);
  app.use("/mounted", mounted);
  app.use("/files", requires(FILES), framework.static(files));
  app.get("/health", content("open"));
  return listening(createServer(app));
};

const onFastify = (framework, options = {}) => async (gateway, files, scope) => {
  const app = framework(options);
  const requires = (scope, options) => ({ onRequest: fastifyKey(gateway, { scopes: [scope], ...options }) });
  const content = (scope) => (request, reply) => reply.header("Content", scope).send(text(decisionOf(request)));
  if (scope) app.addHook("onRequest", requires(scope).onRequest);
  app.get("/api/orders", requires(READ), content(READ));
  app.post("/api/orders", requires(WRITE), content(WRITE));
  app.all("/api/items/:name", requires(ITEMS), content(ITEMS));
  app.get("/files/*", requires(FILES), async (request, reply) => {
    const file = await readFile(join(files, request.params["*"])).catch(() => null);
    return file === null ? reply.callNotFound() : reply.header("Content", FILES).send(file);
  });
  const mounted = async (plugin) => {
    plugin.addHook("onRequest", fastifyKey(gateway, { scopes: [MOUNTED] }));
    plugin.get("/api/orders", content(MOUNTED));
  };
  const versioned = async (plugin) => {
    plugin.get("/priced", requires(MOUNTED, PRICED), content(MOUNTED));
    plugin.get("/partner", requires(MOUNTED, PARTNER), content(MOUNTED));
  };
  app.register(mounted, { prefix: "/mounted" });
  app.register(versioned, { prefix: "/mounted" });
  app.get("/health", content("open"));
  return [await app.listen({ host: "127.0.0.1", port: 0 }), () => app.close()];
};

const onHono = (options = {}) => async (gateway, files, scope) => {
  const requires = (scope, options) => honoKey(gateway, { scopes: [scope], ...options });
  const content = (scope) => (context) => context.text(text(context.get("gatehouse")), 200, { Content: scope });
  const [app, api, mounted, other] = [new Hono(options), new Hono(options), new Hono(options), new Hono(options)];
  if (scope) app.use(requires(scope));
  api.get("/orders", requires(READ), content(READ));
  api.post("/orders", requires(WRITE), content(WRITE));
  api.all("/items/:name", requires(ITEMS), content(ITEMS));
  mounted.get("/priced", requires(MOUNTED, PRICED), content(MOUNTED));
  mounted.get("/partner", requires(MOUNTED, PARTNER), content(MOUNTED));
  mounted.use(requires(MOUNTED));
  other.get("/orders", requires(MOUNTED), content(MOUNTED));
  mounted.mount("/api", other.fetch);
  app.route("/api", api);
  app.route("/mounted", mounted);
  app.use("/files/*", requires(FILES));
  const onFound = (_path, context) => context.header("Content", FILES);
  const rewriteRequestPath = (path) => path.replace(/^\/files/i, "");
  app.get("/files/*", serveStatic({ root: files, rewriteRequestPath, onFound }));
  app.get("/health", content("open"));
  const server = await new Promise((resolve) => {
    const started = serve({ fetch: app.fetch, hostname: "127.0.0.1", port: 0 }, () => resolve(started));
  });
  return [`http://127.0.0.1:${server.address().port}`, () => (server.closeAllConnections(), server.close())];
};

const ROUTER = { caseSensitive: false, ignoreTrailingSlash: true, ignoreDuplicateSlashes: true, useSemicolonDelimiter: true };
const rewriteUrl = (request) => request.url.replace(/^\/root(?=\/)/i, "");
const getPath = (request) => new URL(request.url).pathname.toLowerCase().replace(/^\/root(?=\/)/, "");

/** Each starts a service with a client of the gateway, a folder of files, and the scope that the whole application
 * requires in addition to those of its routes. Returns its URL and a function that stops it. */
export const SERVICES = {
  express: onExpress(express),
  "express, strict": onExpress(express, "case sensitive routing", "strict routing"),
  "express 4": onExpress(express4),
  fastify: onFastify(fastify),
  "fastify, tolerant": onFastify(fastify, { routerOptions: ROUTER, rewriteUrl }),
  "fastify 4, tolerant": onFastify(fastify4, { ...ROUTER, rewriteUrl }),
  hono: onHono(),
  "hono, tolerant": onHono({ strict: false, getPath }),
};
