/** A guard for Hono: `app.get("/orders", requireKey(gateway, { scopes: ["orders:read"] }), handler)`. */
import type { GatewayClient } from "./gateway.js";
import { decider, Denial, type KeyOptions } from "./middleware.js";

interface HonoContext {
  env: unknown;
  req: { method: string; raw: object; header(name: string): string | undefined };
  res: Response;
  set(name: string, value: unknown): void;
}

interface HonoOptions extends KeyOptions {
  /** Address of the client. Default: that of the connection, with `@hono/node-server`. */
  address?: (context: HonoContext) => string | undefined;
}

/** The decision is `context.get("gatehouse")`, a `Verification`. */
export function requireKey(gateway: GatewayClient, options: HonoOptions = {}) {
  const { address = connectionAddress } = options;
  const decide = decider(gateway, options);
  return async (context: HonoContext, next: () => Promise<void>): Promise<Response | undefined> => {
    const { req } = context;
    const values = (name: string): string[] => [req.header(name)].filter((value) => value !== undefined);
    const result = await decide({
      // A mounted application receives another Request, but the same message of Node.js.
      source: incoming(context) ?? req.raw,
      method: req.method,
      authorization: values("authorization"),
      apiKey: values("x-api-key"),
      address: address(context),
    });
    if (result instanceof Denial) return new Response(result.body, result);
    context.set("gatehouse", result);
    await next();
    for (const [name, value] of Object.entries(result.headers)) context.res.headers.set(name, value);
    return undefined;
  };
}

interface Incoming {
  socket?: { remoteAddress?: string };
}

function incoming({ env }: HonoContext): Incoming | undefined {
  return (env as { incoming?: Incoming } | undefined)?.incoming;
}

function connectionAddress(context: HonoContext): string | undefined {
  return incoming(context)?.socket?.remoteAddress;
}
