/** A guard for Hono: `app.get("/orders", requireKey(gateway, { scopes: ["orders:read"] }), handler)`. */
import type { Context, MiddlewareHandler } from "hono";
import type { GatewayClient, Verification } from "./gateway.js";
import { decider, Denial, type KeyOptions } from "./middleware.js";

interface HonoOptions extends KeyOptions {
  /** Address of the client. Default: that of the connection, with `@hono/node-server`. */
  address?: (context: Context) => string | undefined;
}

/** The decision is `context.get("gatehouse")`. */
export function requireKey(
  gateway: GatewayClient,
  options: HonoOptions = {},
): MiddlewareHandler<{ Variables: { gatehouse: Verification } }> {
  const { address = connectionAddress } = options;
  const decide = decider(gateway, options);
  return async (context, next) => {
    const { req } = context;
    const result = await decide({
      // A mounted application receives another Request, but the same message of Node.js.
      source: incoming(context) ?? req.raw,
      method: req.method,
      values: (name) => [req.header(name)].filter((value) => value !== undefined),
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

function incoming({ env }: { env: unknown }): Incoming | undefined {
  return (env as { incoming?: Incoming } | undefined)?.incoming;
}

function connectionAddress(context: Context): string | undefined {
  return incoming(context)?.socket?.remoteAddress;
}
