// The same calls with the types that openapi-typescript generates, and openapi-fetch.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import createClient from 'openapi-fetch'
import type { paths as ConsolePaths } from './console'
import type { paths as GatewayPaths } from './gateway'
import type { paths as SharingPaths } from './sharing'

const { CONSOLE, GATEWAY, SHARING, TOKEN } = process.env
const bearer = (token?: string) => ({ Authorization: `Bearer ${token}` })
const console = createClient<ConsolePaths>({ baseUrl: CONSOLE, headers: bearer(TOKEN) })
const [customer, once] = [`customer-${randomUUID().slice(0, 8)}`, randomUUID()]
const owned = { customer_id: customer, create_customer: true }

async function main(): Promise<void> {
  const limits = [{ name: 'requests', quota: 1, window_s: 3600 }]
  const headers = { 'Idempotency-Key': once }
  const created = await console.POST('/v1/keys', { params: { header: headers }, body: { name: 'first', ...owned, limits } })
  const reused = await console.POST('/v1/keys', { params: { header: headers }, body: { name: 'second', ...owned } })
  assert.equal(reused.response.status, 422)
  assert.equal(reused.error?.code, 'idempotency_key_reused')
  for (const name of ['second', 'third', 'fourth', 'fifth']) {
    await console.POST('/v1/keys', { body: { name, ...owned } })
  }

  const pages: number[] = []
  let cursor: string | undefined
  do {
    const { data } = await console.GET('/v1/keys', { params: { query: { customer, limit: 2, cursor } } })
    pages.push(data?.keys.length ?? 0)
    cursor = data?.next_cursor ?? undefined
  } while (cursor)
  assert.deepEqual(pages, [2, 2, 1])

  const path = { id: created.data?.key.id ?? '' }
  const etag = (await console.GET('/v1/keys/{id}', { params: { path } })).response.headers.get('etag') ?? ''
  const update = { params: { path, header: { 'If-Match': etag } }, body: { notes: 'changed' } }
  assert.equal((await console.PATCH('/v1/keys/{id}', update)).data?.key.notes, 'changed')
  assert.equal((await console.PATCH('/v1/keys/{id}', update)).response.status, 412)

  const rotated = await console.POST('/v1/keys/{id}/rotate', { params: { path }, body: { grace_s: 0 } })
  const token = rotated.data?.token ?? ''
  const gateway = createClient<GatewayPaths>({ baseUrl: GATEWAY, headers: bearer(token) })
  assert.equal((await gateway.POST('/v1/keys/verify', { body: { token } })).data?.valid, true)
  const denied = await gateway.GET('/v1/keys/verify', {})
  assert.equal(denied.response.status, 429)
  assert.ok(Number(denied.response.headers.get('retry-after')) > 0)

  const secret = await console.POST('/v1/secrets', { body: { text: 'canary' } })
  const sharing = createClient<SharingPaths>({ baseUrl: SHARING })
  const opened = await sharing.POST('/v1/links/open', { body: { link: secret.data?.links[0]?.url ?? '' } })
  assert.equal(opened.data?.items[0]?.text, 'canary')
}

void main()
