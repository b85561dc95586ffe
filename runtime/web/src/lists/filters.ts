/** Filters and page cursors, which are part of the URL query, so that a filtered list can be opened with a link. */
import { computed, type ComputedRef } from 'vue'
import { useRoute, useRouter, type LocationQueryRaw } from 'vue-router'

/** The filters for the start and the end of a time range. */
export const TIMES = [
  { name: 'since', label: 'audit.since' },
  { name: 'until', label: 'audit.until' },
] as const

interface PageLink {
  query: LocationQueryRaw
  state: { before: string[] }
}

export interface Filters<Name extends string> {
  values: ComputedRef<Record<Name, string>>
  cursor: ComputedRef<string | undefined>
  /** A filter other than the order has a value. */
  filtered: ComputedRef<boolean>
  /** Sets a filter to the value of the control that changed, whose values are fixed. SearchFilter.vue is for text. */
  enter(name: Name, event: Event): void
  /** Changes filters and returns to the first page. */
  set: (changes: Partial<Record<Name, string>>) => void
  /** Cursors of the pages before this one, which the history of the browser contains. */
  before: ComputedRef<string[]>
  /** Returns the link to the page with this cursor, which follows this page. */
  page: (cursor: string | undefined) => PageLink
  previous: () => PageLink
}

export function useFilters<Name extends string>(names: readonly Name[]): Filters<Name> {
  const route = useRoute()
  const router = useRouter()
  const text = (name: string): string => {
    const value = route.query[name]
    return typeof value === 'string' ? value : ''
  }
  const values = computed(() => Object.fromEntries(names.map((name) => [name, text(name)])) as Record<Name, string>)
  const compact = (query: Record<string, string>): LocationQueryRaw => Object.fromEntries(Object.entries(query).filter(([, value]) => value))
  // The route is read because the state of the history is not reactive.
  const before = computed(() => (route.fullPath && Array.isArray(history.state?.before) ? (history.state.before as string[]) : []))
  const link = (cursor: string, pages: string[]): PageLink => ({
    query: compact({ ...values.value, cursor }),
    state: { before: pages },
  })
  const set = (changes: Partial<Record<Name, string>>): void =>
    void router.push({ query: compact({ ...values.value, ...(changes as Record<string, string>) }) })
  return {
    values,
    cursor: computed(() => text('cursor') || undefined),
    filtered: computed(() => names.some((name) => name !== 'sort' && text(name))),
    set,
    enter(name, event) {
      set({ [name]: (event.target as HTMLInputElement).value } as Partial<Record<Name, string>>)
    },
    before,
    page: (cursor) => link(cursor ?? '', cursor ? [...before.value, text('cursor')] : []),
    previous: () => link(before.value.at(-1) ?? '', before.value.slice(0, -1)),
  }
}

/** The value of a datetime-local field for a time in milliseconds. */
export function localTime(time: number): string {
  return new Date(time - new Date(time).getTimezoneOffset() * 60_000).toISOString().slice(0, 16)
}

/** Converts the value of a datetime-local field, which is in the browser's time zone, to an API timestamp. */
export function instant(local: string): string | undefined {
  const time = new Date(local)
  return local && !Number.isNaN(time.getTime()) ? time.toISOString() : undefined
}
