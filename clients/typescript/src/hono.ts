/** Middleware for Hono: `app.use(requireKey(gateway, { scopes: ["orders:read"] }))`. */
import type { GatewayClient } from "./gateway.js";
import { decide, Denial, type KeyOptions } from "./middleware.js";

interface HonoContext {
  env: unknown;
  req: { method: string; path: string; header(name: string): string | undefined };
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
  return async (context: HonoContext, next: () => Promise<void>): Promise<Response | undefined> => {
    const { req } = context;
    const values = (name: string): string[] => [req.header(name)].filter((value) => value !== undefined);
    const result = await decide(gateway, options, {
      method: req.method,
      path: req.path,
      authorization: values("authorization"),
      apiKey: values("x-api-key"),
      address: address(context),
    });
    if (result instanceof Denial) return new Response(result.body, result);
    if (result !== null) context.set("gatehouse", result);
    await next();
    for (const [name, value] of Object.entries(result?.headers ?? {})) context.res.headers.set(name, value);
    return undefined;
  };
}

function connectionAddress({ env }: HonoContext): string | undefined {
  const node = env as { incoming?: { socket?: { remoteAddress?: string } } } | undefined;
  return node?.incoming?.socket?.remoteAddress;
}
