/** The values that a response contains and that cannot be shown again, by operation. */
import type { Schemas } from '../api/client'
import { requestOf, type ShownOnceOperation } from '../api/results'
import { t } from '../text/preferences'

interface ShownValues {
  title: string
  /** The resource, if several are shown together. */
  of?: string
  text: string
  items: { name: string; value: string }[]
  fileName: string
  /** Text of the button with which the user confirms that the values are stored. */
  confirm: string
  /** Page of the resource. */
  page: string
}

interface Responses {
  create_key: Schemas['CreatedKey']
  rotate_key: Schemas['RotatedKey']
  create_portal_link: Schemas['PortalLink']
  create_secret: Schemas['CreatedSecret']
  create_secret_request: Schemas['CreatedSecretRequest']
  create_webhook: Schemas['CreatedWebhook']
  rotate_webhook_secret: Schemas['CreatedWebhook']
}

const VALUES: { [K in ShownOnceOperation]: (response: Responses[K], own: string) => ShownValues } = {
  create_key: (response) => issued(response, t('keys.created', { name: response.key.name })),
  rotate_key: (response) => issued(response, t('keys.rotated')),
  create_portal_link: ({ url }) => ({
    title: t('portal.title'),
    text: t('portal.once'),
    items: [{ name: t('secrets.link'), value: url }],
    fileName: 'portal-link.txt',
    confirm: t('portal.sent'),
    page: '/customers',
  }),
  create_secret: ({ secret, links }, own) => ({
    title: t('secrets.created'),
    text: t('secrets.linksOnce'),
    items: links.map(({ recipient, url }) => ({
      name: recipient ? t('secrets.linkFor', { name: recipient }) : t('secrets.link'),
      value: own ? `${url}.${own}` : url,
    })),
    fileName: `links-${secret.id}.txt`,
    confirm: t('secrets.done'),
    page: `/secrets/${secret.id}`,
  }),
  create_secret_request: ({ secret, submission_link: link }, own) => ({
    title: t('requests.created'),
    text: t('requests.linksOnce'),
    items: [
      { name: t('requests.submissionLink'), value: link },
      { name: t('requests.retrievalLink'), value: link.slice(0, link.lastIndexOf('/r/')) + own },
    ],
    fileName: `request-${secret.id}.txt`,
    confirm: t('requests.done'),
    page: `/secrets/${secret.id}`,
  }),
  create_webhook: signing,
  rotate_webhook_secret: signing,
}

/** The responses that are shown together: all rotations, and each other response for itself. */
export function together(responses: object[]): Map<string, object[]> {
  const found = new Map<string, object[]>()
  for (const response of responses) {
    const { operation, key } = requestOf(response)
    const part = operation === 'rotate_key' ? operation : key
    found.set(part, [...(found.get(part) ?? []), response])
  }
  return found
}

/** The values of responses that are shown together. */
export function shownValues(responses: object[]): ShownValues {
  const all = responses.map((response) => {
    const { operation, own } = requestOf(response)
    return (VALUES[operation] as (response: object, own: string) => ShownValues)(response, own)
  })
  const [first] = all as [ShownValues]
  if (all.length === 1) {
    return first
  }
  return {
    ...first,
    title: t('keys.rotatedMany', { count: all.length }),
    text: t('keys.manyOnce'),
    items: all.flatMap(({ of = '', items }) => items.map(({ value }) => ({ name: of, value }))),
    fileName: 'keys.txt',
    confirm: t('keys.storedMany'),
    page: '/keys',
  }
}

function issued({ key, token, link }: Responses['create_key'], title: string): ShownValues {
  return {
    title,
    of: [key.customer_name || key.customer_id, key.name, key.id].filter(Boolean).join(' · '),
    text: t(link ? 'keys.linkOnce' : 'keys.tokenOnce'),
    items: [{ name: t(link ? 'secrets.link' : 'keys.token'), value: link ?? token ?? '' }],
    fileName: `${key.id}.txt`,
    confirm: t('keys.stored'),
    page: `/keys/${key.id}`,
  }
}

function signing({ webhook, secret }: Responses['create_webhook']): ShownValues {
  return {
    title: t('webhooks.secretOf', { id: webhook.id }),
    text: t('webhooks.secretOnce'),
    items: [{ name: t('webhooks.secret'), value: secret }],
    fileName: `webhook-${webhook.id}.txt`,
    confirm: t('webhooks.done'),
    page: '/webhooks',
  }
}
