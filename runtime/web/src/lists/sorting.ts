/** Orders of lists. */
import { computed, reactive, ref } from 'vue'

type Value = string | number | null | undefined

/** sort: the current order, such as `name`, or `-name` for the reverse order; undefined if the list cannot be sorted. */
export interface Sorting {
  sort: string | undefined
  set: (sort: string) => void
}

/**
 * Sorts rows in the browser. `values`: values that are not fields of a row, by the names of their columns. A list of which only a page has
 * arrived has the order of the console.
 */
export function useSorted<Row extends object>(rows: () => Row[] | undefined, values: Record<string, (row: Row) => Value> = {}, isWhole: () => boolean = () => true) {
  const chosen = ref('')
  const sort = computed(() => (isWhole() ? chosen.value : undefined))
  const sorted = computed(() => {
    const all = [...(rows() ?? [])]
    const field = sort.value?.replace('-', '')
    if (field) {
      const valueOf = values[field] ?? ((row: Row) => (row as Record<string, Value>)[field])
      all.sort((a, b) => compare(valueOf(a), valueOf(b)) * (sort.value === field ? 1 : -1))
    }
    return all
  })
  const total = computed(() => (isWhole() ? sorted.value.length : null))
  return reactive({ sort, rows: sorted, total, set: (value: string) => (chosen.value = value) })
}

/** Missing values come first. */
function compare(a: Value, b: Value): number {
  return typeof a === 'number' && typeof b === 'number' ? a - b : String(a ?? '').localeCompare(String(b ?? ''))
}
