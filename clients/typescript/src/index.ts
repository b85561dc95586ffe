export { ApiError, GatewayClient, STATUS } from "./gateway.js";
export type { GatewayOptions, Taken, Verification } from "./gateway.js";
export type { KeyOptions } from "./middleware.js";
export type * from "./types.js";
