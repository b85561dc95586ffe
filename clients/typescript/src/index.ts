export { ConsoleClient } from "./console.js";
export type { CallOptions, ConsoleOptions, Query } from "./console.js";
export { GatewayClient, STATUS } from "./gateway.js";
export type { GatewayOptions, Taken, Verification } from "./gateway.js";
export type { KeyOptions } from "./middleware.js";
export { sign } from "./signing.js";
export type { SigningOptions } from "./signing.js";
export { ApiError } from "./transport.js";
export type * from "./types.js";
