/** Orders of lists, and lists in pages. */
import { computed, reactive, ref } from 'vue'
import { TICK_MS } from '../api/polling'
import { useQuery, type Query } from '../api/query'
import type { Filters } from './filters'
import { TOTAL_MAX } from '../text/preferences'

type Value = string | number | null | undefined

/** sort: the current order, such as `name`, or `-name` for the reverse order; empty for the order of the console. */
export interface Sorting {
  sort: string
  set: (sort: string) => void
}

/** Values of rows by the names of their columns, unless they are fields of a row. */
type Values<Row> = Record<string, (row: Row) => Value>

/** total: count all entries. */
interface Position {
  cursor?: string
  limit?: number
  total: boolean
}

interface Page {
  next_cursor: string | null
}

const PAGE_MAX = 100

/** Sorts rows in the browser. */
export function useSorted<Row extends object>(rows: () => Row[] | undefined, values: Values<Row> = {}) {
  const sort = ref('')
  return reactive({ sort, rows: computed(() => sorted(rows() ?? [], sort.value, values)), set: (value: string) => (sort.value = value) })
}

/** Loads the pages of a list until there are no more, or TOTAL_MAX rows. Returns the first page with all rows. */
export async function loadAll<List extends Page, Row>(load: (position: Position) => Promise<List>, rowsOf: (page: List) => Row[]): Promise<List> {
  const list = await load({ limit: PAGE_MAX, total: true })
  while (list.next_cursor && rowsOf(list).length < TOTAL_MAX) {
    const page = await load({ cursor: list.next_cursor, limit: PAGE_MAX, total: false })
    rowsOf(list).push(...rowsOf(page))
    list.next_cursor = page.next_cursor
  }
  return list
}

/** A list whose filters, order and page are part of the URL. */
export interface List<Data, Row> extends Sorting {
  filters: Filters
  query: Query<Data>
  rows: Row[]
  /** The list is too long for the chosen order, and has the order of the console. */
  isTooLong: boolean
}

/**
 * The console sorts by the first of the `orders`, or by another of them. For all other orders, all pages are loaded and sorted in the
 * browser. `load` loads a page; it reads the filters, one of which is `sort`.
 */
export function useList<Data extends Page, Row extends object>(options: {
  filters: Filters
  orders: string[]
  load: (position: Position, signal: AbortSignal) => Promise<Data>
  rowsOf: (data: Data) => Row[]
  values?: Values<Row>
  everyMs?: number
  /** The rows of this page do not change any more. */
  isFinal?: () => boolean
}): List<Data, Row> {
  const { filters, orders, load, rowsOf, values = {}, everyMs = TICK_MS, isFinal } = options
  const chosen = computed(() => filters.values.value['sort'] || orders[0]!)
  const ofConsole = computed(() => orders.includes(chosen.value))
  const isTooLong = ref(false)
  let requests = 0
  const query = useQuery(
    async (signal) => {
      requests = 0
      const loadPage = (position: Position): Promise<Data> => {
        requests += 1
        return load(position, signal)
      }
      const position = { cursor: filters.cursor.value, total: true }
      const all = !ofConsole.value && !position.cursor ? await loadAll(loadPage, rowsOf) : undefined
      isTooLong.value = !ofConsole.value && all?.next_cursor !== null
      return all?.next_cursor === null ? all : await loadPage(position)
    },
    () => [filters.values.value, filters.cursor.value],
    // Several requests are sent less often.
    () => (isFinal?.() ? 0 : requests * everyMs),
  )
  const rows = computed(() => {
    const loaded = query.data ? rowsOf(query.data) : []
    return ofConsole.value || isTooLong.value ? loaded : sorted(loaded, chosen.value, values)
  })
  return {
    filters,
    query,
    get rows() {
      return rows.value
    },
    get isTooLong() {
      return isTooLong.value
    },
    get sort() {
      return isTooLong.value ? orders[0]! : chosen.value
    },
    set: (value) => filters.set({ sort: value === orders[0] ? '' : value }),
  }
}

/** Missing values come first. */
function sorted<Row extends object>(rows: Row[], sort: string, values: Values<Row>): Row[] {
  const field = sort.replace('-', '')
  if (!field) {
    return rows
  }
  const valueOf = values[field] ?? ((row: Row) => (row as Record<string, Value>)[field])
  return [...rows].sort((a, b) => compare(valueOf(a), valueOf(b)) * (sort === field ? 1 : -1))
}

function compare(a: Value, b: Value): number {
  return typeof a === 'number' && typeof b === 'number' ? a - b : String(a ?? '').localeCompare(String(b ?? ''))
}
