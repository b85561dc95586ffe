// The same calls with the clients that @hey-api/openapi-ts generates.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { createKey, createSecret, listKeys, rotateKey, showKey, updateKey } from './console'
import { createClient as createConsole } from './console/client'
import { verifyKey, verifyKeyHeader } from './gateway'
import { createClient as createGateway } from './gateway/client'
import { openLink } from './sharing'
import { createClient as createSharing } from './sharing/client'

const { CONSOLE, GATEWAY, SHARING, TOKEN } = process.env
const client = createConsole({ baseUrl: CONSOLE, auth: TOKEN })
const [customer, once] = [`customer-${randomUUID().slice(0, 8)}`, randomUUID()]
const owned = { customer_id: customer, create_customer: true }

async function main(): Promise<void> {
  const limits = [{ name: 'requests', quota: 1, window_s: 3600 }]
  const headers = { 'Idempotency-Key': once }
  const created = await createKey({ client, headers, body: { name: 'first', ...owned, limits } })
  const reused = await createKey({ client, headers, body: { name: 'second', ...owned } })
  assert.equal(reused.response?.status, 422)
  assert.equal(reused.error?.code, 'idempotency_key_reused')
  for (const name of ['second', 'third', 'fourth', 'fifth']) {
    await createKey({ client, body: { name, ...owned } })
  }

  const pages: number[] = []
  let cursor: string | undefined
  do {
    const { data } = await listKeys({ client, query: { customer, limit: 2, cursor } })
    pages.push(data?.keys.length ?? 0)
    cursor = data?.next_cursor ?? undefined
  } while (cursor)
  assert.deepEqual(pages, [2, 2, 1])

  const path = { id: created.data?.key.id ?? '' }
  const etag = (await showKey({ client, path })).response?.headers.get('etag') ?? ''
  const update = { client, path, headers: { 'If-Match': etag }, body: { notes: 'changed' } }
  assert.equal((await updateKey(update)).data?.key.notes, 'changed')
  assert.equal((await updateKey(update)).response?.status, 412)

  const token = (await rotateKey({ client, path, body: { grace_s: 0 } })).data?.token ?? ''
  const gateway = createGateway({ baseUrl: GATEWAY, auth: token })
  assert.equal((await verifyKey({ client: gateway, body: { token } })).data?.valid, true)
  const denied = await verifyKeyHeader({ client: gateway })
  assert.equal(denied.response?.status, 429)
  assert.ok(Number(denied.response?.headers.get('retry-after')) > 0)

  const secret = await createSecret({ client, body: { text: 'canary' } })
  const sharing = createSharing({ baseUrl: SHARING })
  const opened = await openLink({ client: sharing, body: { link: secret.data?.links[0]?.url ?? '' } })
  assert.equal(opened.data?.items[0]?.text, 'canary')
}

void main()
