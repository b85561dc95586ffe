/** Filters and page cursors, which are part of the URL query, so that a filtered list can be opened with a link. */
import { computed, type ComputedRef } from 'vue'
import { useRoute, useRouter, type LocationQueryRaw } from 'vue-router'

export interface Filters<Name extends string> {
  values: ComputedRef<Record<Name, string>>
  cursor: ComputedRef<string | undefined>
  /** Sets a filter to the value of the control that changed, whose values are fixed. SearchFilter.vue is for text. */
  enter(name: Name, event: Event): void
  /** Changes filters and returns to the first page. */
  set: (changes: Partial<Record<Name, string>>) => void
  /** Returns the query for the page with this cursor. */
  page: (cursor: string | undefined) => { query: LocationQueryRaw }
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
  const set = (changes: Partial<Record<Name, string>>): void =>
    void router.push({ query: compact({ ...values.value, ...(changes as Record<string, string>) }) })
  return {
    values,
    cursor: computed(() => text('cursor') || undefined),
    set,
    enter(name, event) {
      set({ [name]: (event.target as HTMLInputElement).value } as Partial<Record<Name, string>>)
    },
    page: (cursor) => ({ query: compact({ ...values.value, cursor: cursor ?? '' }) }),
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
