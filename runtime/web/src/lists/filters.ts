/** Filters and page cursors, which are part of the URL query, so that a filtered list can be opened with a link. */
import { computed, ref, type ComputedRef } from 'vue'
import { useRoute, useRouter, type LocationQueryRaw } from 'vue-router'
import type { MessageKey } from '../text/preferences'

/** A filter. Its name is that of the query parameter of the API, and of the option of the command line. */
export interface Field {
  label: MessageKey
  /** time: the filters since, until and last. key, customer, core, actor: suggests what the console knows. By default text. */
  kind?: 'choice' | 'time' | 'key' | 'customer' | 'core' | 'actor'
  /** Values of a choice, and the text of a value, which otherwise is the value. */
  values?: readonly string[]
  text?: (value: string) => string
  /** Text of a choice or time without a value. */
  all?: MessageKey
  placeholder?: string
  /** Suggestions beside those of the console: names by value. */
  known?: () => Record<string, string>
  /** Only links set the filter: it has no control. */
  hidden?: boolean
}

/** Time ranges before now, as `last`, with their texts. */
export const PERIODS = ['1h', '24h', '7d', '30d'] as const
const UNITS_S: Record<string, number> = { m: 60, h: 3600, d: 86_400 }

interface PageLink {
  query: LocationQueryRaw
  state: { before: string[] }
}

export interface Filters {
  fields: Record<string, Field>
  values: ComputedRef<Record<string, string>>
  cursor: ComputedRef<string | undefined>
  /** A filter other than the order has a value. */
  filtered: ComputedRef<boolean>
  /** The time range of a request that is sent now, as timestamps. */
  range: () => { since: string | undefined; until: string | undefined }
  /** Query parameters of a request that is sent now. */
  query: () => object
  /** Changes filters and returns to the first page. */
  set: (changes: Record<string, string>) => void
  /** Cursors of the pages before this one, which the history of the browser contains. */
  before: ComputedRef<string[]>
  /** Returns the link to the page with this cursor, which follows this page. */
  page: (cursor: string | undefined) => PageLink
  previous: () => PageLink
}

export function useFilters(fields: Record<string, Field> = {}): Filters {
  const route = useRoute()
  const router = useRouter()
  const names = Object.entries(fields).flatMap(([name, { kind }]) => (kind === 'time' ? ['since', 'until', 'last'] : [name]))
  const text = (name: string): string => {
    const value = route.query[name]
    return typeof value === 'string' ? value : ''
  }
  const values = computed(() => Object.fromEntries([...names, 'sort'].map((name) => [name, text(name)])))
  const compact = (query: Record<string, string>): LocationQueryRaw => Object.fromEntries(Object.entries(query).filter(([, value]) => value))
  /** The start of the range `last` in the latest request, which the next page must have as well. */
  const started = ref('')
  // The route is read because the state of the history is not reactive.
  const before = computed(() => (route.fullPath && Array.isArray(history.state?.before) ? (history.state.before as string[]) : []))
  const link = (cursor: string, pages: string[]): PageLink => {
    const { last, since } = values.value
    return { query: compact({ ...values.value, since: last ? cursor && (text('cursor') ? since ?? '' : started.value) : since ?? '', cursor }), state: { before: pages } }
  }
  const range = (): ReturnType<Filters['range']> => {
    const { since = '', until = '', last = '' } = values.value
    const seconds = secondsOf(last)
    if (seconds && !text('cursor')) {
      started.value = localTime(Date.now() - seconds * 1000)
    }
    return { since: instant(seconds && !text('cursor') ? started.value : since), until: instant(until) }
  }
  return {
    fields,
    values,
    cursor: computed(() => text('cursor') || undefined),
    filtered: computed(() => names.some((name) => text(name))),
    range,
    query() {
      const { sort: _, since: _since, until: _until, last: _last, ...others } = values.value
      return { ...others, ...range() }
    },
    // On a later page of a range `last`, the address has its start.
    set: (changes) => void router.push({ query: compact({ ...values.value, ...(values.value['last'] && { since: '' }), ...changes }) }),
    before,
    page: (cursor) => link(cursor ?? '', cursor ? [...before.value, text('cursor')] : []),
    previous: () => link(before.value.at(-1) ?? '', before.value.slice(0, -1)),
  }
}

/** The seconds of a duration such as `90m`, `24h` or `7d`, or 0 for other text. */
export function secondsOf(duration: string): number {
  const [, number, unit] = /^(\d{1,6})([mhd])$/.exec(duration) ?? []
  return Number(number ?? 0) * (UNITS_S[unit ?? ''] ?? 0)
}

/** The value of a datetime-local field for a time in milliseconds. */
export function localTime(time: number): string {
  return new Date(time - new Date(time).getTimezoneOffset() * 60_000).toISOString().slice(0, 16)
}

/** The last time of the day, such as 10:00, as the value of a datetime-local field. */
export function lastTime(clock: string): string {
  const at = `${localTime(Date.now()).slice(0, 10)}T${clock}`
  return Date.parse(at) > Date.now() ? localTime(Date.parse(at) - 86_400_000) : at
}

/** Converts the value of a datetime-local field, which is in the browser's time zone, to an API timestamp. */
export function instant(local: string): string | undefined {
  const time = new Date(local)
  return local && !Number.isNaN(time.getTime()) ? time.toISOString() : undefined
}
