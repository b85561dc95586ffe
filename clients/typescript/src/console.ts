/** Manages keys and customers with the console: the management API. */
import { randomUUID } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import { inspect } from "node:util";
import { ApiError, apiError, checkPositive, credential, NoResponse, parsed, Transport, type Problem } from "./transport.js";
import type {
  ChangedCustomer,
  ChangedKey,
  CreateCustomer,
  CreatedKey,
  CreateKey,
  CustomerView,
  KeyView,
  PurgedCustomer,
  RevokedKey,
  RotatedKey,
  RotateKey,
  UpdateCustomer,
  UpdateKey,
} from "./types.js";

const IDEMPOTENT = ["GET", "PUT", "DELETE"];
const RETRYABLE = [429, 502, 503, 504];
const WAIT_MS = 250;
const WAIT_MS_MAX = 20_000;
/** Part of every token and of every link, which must not be in a URL, because programs record URLs. */
const TOKEN = /_(?:test|live|admin|signin|session|core)_[\w-]{20}|[0-9A-Za-z]{22}#[0-9A-Za-z]{20}/;
/** Fields of requests that contain a secret, which an error must not repeat. */
const SECRET_FIELDS = ["token", "link", "url", "text", "content_base64", "ciphertext_base64", "passphrase", "claim", "subject"];

export type Query = Record<string, string | number | undefined>;

export interface ConsoleOptions {
  /** Time of an attempt, in milliseconds. A revocation waits for every gateway. Default: 75000. */
  timeoutMs?: number;
  /** Default: 4. */
  attempts?: number;
}

export interface CallOptions {
  /** For operations with `If-Match`: the version that was read. */
  version?: number;
  /**
   * Of a POST request, which takes effect only once, even if it is sent repeatedly. To resume after a crash,
   * store a key before the call and pass it again: the repeated call returns the first response.
   */
  idempotencyKey?: string;
}

/**
 * `token` is an admin credential, or a key with the scope `role:service`. `/openapi.json` of the console describes
 * all operations; `get`, `items` and `call` send those without a method. Every method throws ApiError, with the
 * status 412 if `version` is not the current one, and 0 if there is no response.
 */
export class ConsoleClient {
  readonly #transport: Transport;
  readonly #token: string;
  readonly #options: Required<ConsoleOptions>;

  constructor(console: string, token: string, options: ConsoleOptions = {}) {
    this.#token = credential(token);
    if (!this.#token) throw new TypeError("the token is empty");
    this.#options = { timeoutMs: 75_000, attempts: 4, ...options };
    checkPositive(this.#options, this.#options);
    this.#transport = new Transport("console", console, this.#token);
  }

  /** The new key and its token, which no other call returns. */
  createKey(key: CreateKey, options: Pick<CallOptions, "idempotencyKey"> = {}): Promise<CreatedKey> {
    return this.call("POST", "/v1/keys", key, options);
  }

  key(id: string): Promise<KeyView> {
    return this.get(path("keys", id));
  }

  /** All keys, or those that a query finds, such as `{ customer: "shop" }`. Reads one page at a time. */
  keys(query: Query = {}): AsyncGenerator<KeyView> {
    return this.items("/v1/keys", query);
  }

  updateKey(id: string, version: number, changes: UpdateKey): Promise<ChangedKey> {
    return this.call("PATCH", path("keys", id), changes, { version });
  }

  /** A new token. The previous one works until the end of the grace period. */
  rotateKey(id: string, rotation: RotateKey = {}): Promise<RotatedKey> {
    return this.call("POST", path("keys", id, "rotate"), rotation);
  }

  /** Ends a key for good. The response arrives when every gateway denies it. */
  revokeKey(id: string, reason = ""): Promise<RevokedKey> {
    return this.call("POST", path("keys", id, "revoke"), { reason });
  }

  disableKey(id: string, reason = ""): Promise<ChangedKey> {
    return this.call("POST", path("keys", id, "disable"), { reason });
  }

  enableKey(id: string, reason = ""): Promise<ChangedKey> {
    return this.call("POST", path("keys", id, "enable"), { reason });
  }

  /** A deleted key can be restored for 30 days. */
  deleteKey(id: string, reason = ""): Promise<ChangedKey> {
    return this.call("DELETE", path("keys", id), { reason });
  }

  createCustomer(customer: CreateCustomer, options: Pick<CallOptions, "idempotencyKey"> = {}): Promise<CustomerView> {
    return this.call("POST", "/v1/customers", customer, options);
  }

  customer(id: string): Promise<CustomerView> {
    return this.get(path("customers", id));
  }

  customers(query: Query = {}): AsyncGenerator<CustomerView> {
    return this.items("/v1/customers", query);
  }

  updateCustomer(id: string, version: number, changes: UpdateCustomer): Promise<ChangedCustomer> {
    return this.call("PATCH", path("customers", id), changes, { version });
  }

  /** Disables all keys of a customer. The response arrives when every gateway denies them. */
  disableCustomer(id: string, reason = ""): Promise<ChangedCustomer> {
    return this.call("POST", path("customers", id, "disable"), { reason });
  }

  enableCustomer(id: string, reason = ""): Promise<ChangedCustomer> {
    return this.call("POST", path("customers", id, "enable"), { reason });
  }

  /** Ends all keys of a customer. The customer can be restored until it is purged. */
  deleteCustomer(id: string, reason = ""): Promise<ChangedCustomer> {
    return this.call("DELETE", path("customers", id), { reason });
  }

  restoreCustomer(id: string, reason = ""): Promise<ChangedCustomer> {
    return this.call("POST", path("customers", id, "restore"), { reason });
  }

  /** Erases up to 100 keys of a deleted customer, and the customer if none is left. Repeat it until `keys_left` is 0. */
  purgeCustomer(id: string, reason = ""): Promise<PurgedCustomer> {
    return this.call("POST", path("customers", id, "purge"), { confirm: id, reason });
  }

  get<T>(path: string, query: Query = {}): Promise<T> {
    const present = Object.entries(query).filter(([, value]) => value !== undefined);
    const search = new URLSearchParams(present.map(([name, value]) => [name, String(value)])).toString();
    return this.#send("GET", search ? `${path}?${search}` : path);
  }

  /** All items of a list. Reads one page at a time. */
  async *items<T>(path: string, query: Query = {}): AsyncGenerator<T> {
    const name = path.split(/[-/]/).at(-1) ?? "";
    let { cursor }: Query = query;
    do {
      const page = await this.get<Record<string, T[]> & { next_cursor?: string | null }>(path, { ...query, cursor });
      yield* page[name] ?? [];
      cursor = page.next_cursor ?? undefined;
    } while (cursor !== undefined);
  }

  /** Sends a request that can change something. Undefined if the response has no content. */
  call<T>(method: string, path: string, body?: object, { version, idempotencyKey }: CallOptions = {}): Promise<T> {
    const headers: Record<string, string> = {};
    if (version !== undefined) headers["If-Match"] = `"${version}"`;
    if (method === "POST") {
      const value = idempotencyKey ?? randomUUID();
      if (/[^\x20-\x7e]/.test(value)) throw new TypeError("an idempotency key must be printable ASCII characters");
      headers["Idempotency-Key"] = `"${value.replace(/[\\"]/g, "\\$&")}"`; // a String (RFC 9651, section 3.3.3)
    }
    return this.#send(method, path, body, headers);
  }

  async #send<T>(method: string, path: string, body?: object, headers: Record<string, string> = {}): Promise<T> {
    if (TOKEN.test(decodeURIComponent(path))) throw new TypeError("the URL contains a token or a link: send an ID or a name");
    const content = body && Buffer.from(JSON.stringify(body));
    const secrets = [this.#token, ...secretsIn(body), ...Object.values(headers)];
    const isRepeatable = IDEMPOTENT.includes(method) || method === "POST";
    for (let attempt = 1; ; attempt++) {
      const error = await this.#attempt<T>(method, path, content, headers, secrets);
      if (!(error instanceof Failure)) return error;
      const { reason, isUnsent } = error;
      const { status, code, retryAfterS = 0 } = reason;
      const isTemporary = status === 0 || RETRYABLE.includes(status) || code === "request_in_progress";
      const waitMs = Math.min(WAIT_MS_MAX, WAIT_MS * 2 ** (attempt - 1)) * (0.5 + Math.random() / 2);
      const isLast = attempt >= this.#options.attempts || retryAfterS * 1000 > WAIT_MS_MAX;
      if (isLast || !(isUnsent || (isRepeatable && isTemporary))) throw reason;
      await setTimeout(Math.max(waitMs, retryAfterS * 1000));
    }
  }

  async #attempt<T>(
    method: string,
    path: string,
    content: Buffer | undefined,
    headers: Record<string, string>,
    secrets: string[],
  ): Promise<T | Failure> {
    const { url } = this.#transport;
    try {
      const reply = await this.#transport.exchange(method, path, this.#options.timeoutMs, content, headers);
      const isOk = reply.status >= 200 && reply.status < 300;
      const value = parsed<object>(reply.text, isOk ? [] : secrets);
      if (!isOk) return new Failure(apiError("console", reply, value as Problem | null));
      if (value === null && reply.text) {
        throw new ApiError(`${url} returned an unexpected response: is it a console?`, reply.status);
      }
      return (value ? withHiddenSecrets(value) : undefined) as T;
    } catch (error) {
      if (!(error instanceof NoResponse)) throw error;
      return new Failure(new ApiError(`cannot reach the console at ${url}: ${error.message}`, 0), error.isUnsent);
    }
  }
}

class Failure {
  constructor(
    readonly reason: ApiError,
    readonly isUnsent = false,
  ) {}
}

/** Throws for an ID that would select another resource. */
function path(list: string, id: string, action = ""): string {
  if (/^\.{0,2}$/.test(id)) throw new TypeError("the ID is not valid");
  return `/v1/${list}/${encodeURIComponent(id)}${action && `/${action}`}`;
}

/** The same object, of which `console.log` and `util.inspect` print no secret. */
function withHiddenSecrets(value: object): object {
  const hidden = Object.keys(value).filter((name) => SECRET_FIELDS.includes(name));
  const print = () => ({ ...value, ...Object.fromEntries(hidden.map((name) => [name, "..."])) });
  return hidden.length ? Object.defineProperty(value, inspect.custom, { value: print }) : value;
}

function secretsIn(value: unknown, isSecret = false): string[] {
  if (typeof value === "string") return isSecret ? [value] : [];
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, item]) => secretsIn(item, isSecret || SECRET_FIELDS.includes(name)));
}
