/** The OpenAPI document of the console, as far as the API reference shows it. */
import { readJson } from './client'

export interface Schema {
  $ref?: string
  type?: string | string[]
  description?: string
  properties?: Record<string, Schema>
  required?: string[]
  items?: Schema
  additionalProperties?: boolean | Schema
  anyOf?: Schema[]
  enum?: unknown[]
  const?: unknown
  default?: unknown
  examples?: unknown[]
  [keyword: string]: unknown
}

export interface Parameter {
  name: string
  in: 'path' | 'query' | 'header'
  required: boolean
  description?: string
  schema: Schema
  example?: unknown
}

type Content = Record<string, { schema: Schema; example?: unknown }>

export interface DocumentedOperation {
  id: string
  method: string
  path: string
  tag: string
  summary: string
  description: string
  parameters: Parameter[]
  body: Content
  responses: { status: string; description: string; content: Content }[]
}

export interface ApiReference {
  operations: DocumentedOperation[]
  schemas: Record<string, Schema>
}

/** Names of keywords that bound a value, in the order in which they are shown. */
const BOUNDS = ['format', 'pattern', 'minLength', 'maxLength', 'minimum', 'maximum', 'minItems', 'maxItems', 'default']

export async function loadReference(signal: AbortSignal): Promise<ApiReference> {
  const document = (await readJson('/openapi.json', signal)) as RawDocument
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, raw]) => ({
      id: raw.operationId,
      method: method.toUpperCase(),
      path,
      tag: raw.tags[0] ?? '',
      summary: raw.summary,
      description: raw.description,
      parameters: raw.parameters ?? [],
      body: raw.requestBody?.content ?? {},
      responses: Object.entries(raw.responses).map(([status, { description, content = {} }]) => ({ status, description, content })),
    })),
  )
  return { operations, schemas: document.components.schemas }
}

/** The schema itself, or the one that it refers to. */
export function resolve(schema: Schema, schemas: Record<string, Schema>): Schema {
  return schema.$ref ? (schemas[schema.$ref.slice(schema.$ref.lastIndexOf('/') + 1)] ?? {}) : schema
}

/** The object whose fields describe a value: the value itself, the items of an array, or an alternative to null. */
export function objectOf(schema: Schema, schemas: Record<string, Schema>): Schema | undefined {
  const target = resolve(schema, schemas)
  if (target.properties) {
    return target
  }
  return [...(target.items ? [target.items] : []), ...(target.anyOf ?? [])].map((part) => objectOf(part, schemas)).find(Boolean)
}

/** The type in words of JSON Schema, such as `array of string` or `"live" | "test"`. */
export function typeOf(schema: Schema, schemas: Record<string, Schema>): string {
  const target = resolve(schema, schemas)
  const values = target.enum ?? ('const' in target ? [target.const] : undefined)
  if (values) {
    return values.map((value) => JSON.stringify(value)).join(' | ')
  }
  if (target.anyOf) {
    return target.anyOf.map((part) => typeOf(part, schemas)).join(' | ')
  }
  const name = [target.type ?? 'any'].flat().join(' | ')
  return name === 'array' && target.items ? `array of ${typeOf(target.items, schemas)}` : name
}

/** Bounds of a value and of its alternatives, such as `maxLength: 100`. */
export function boundsOf(schema: Schema, schemas: Record<string, Schema>): string[] {
  const target = resolve(schema, schemas)
  const own = BOUNDS.filter((name) => target[name] !== undefined).map((name) => `${name}: ${JSON.stringify(target[name])}`)
  return [...own, ...(target.anyOf ?? []).flatMap((part) => boundsOf(part, schemas))]
}

interface RawDocument {
  paths: Record<string, Record<string, RawOperation>>
  components: { schemas: Record<string, Schema> }
}

interface RawOperation {
  operationId: string
  tags: string[]
  summary: string
  description: string
  parameters?: Parameter[]
  requestBody?: { content: Content }
  responses: Record<string, { description: string; content?: Content }>
}
