/** Calculates sums of usage counters. */
import type { Schemas } from '../api/client'
import { en, type MessageKey } from '../locales/en'
import { formatChange, formatShortTime } from '../text/preferences'

type Point = Schemas['UsagePointView']
export type Dimension = 'key' | 'core' | 'code' | 'customer' | 'tag'

export type Code = Extract<MessageKey, `code.${string}`> extends `code.${infer Name}` ? Name : never

/** Result codes of a verification. */
export const CODES = Object.keys(en).flatMap((key) => (key.startsWith('code.') ? (key.slice('code.'.length) as Code) : []))

/** Checks that deny requests. */
export const CHECKS = Object.keys(en).flatMap((key) => (key.startsWith('check.') ? key.slice('check.'.length) : []))

/** Returns the counts for a dimension, largest first. */
export function totalsBy(points: Point[], dimension: Dimension): { name: string; count: number }[] {
  const sums = new Map<string, number>()
  for (const point of points) {
    const name = point[dimension]
    if (name) {
      sums.set(name, (sums.get(name) ?? 0) + point.count)
    }
  }
  return [...sums].map(([name, count]) => ({ name, count })).sort((a, b) => b.count - a.count)
}

/** The change of the requests since the week before, such as "+12%". Undefined if there is nothing to compare. */
export function weekChange({ week_before: week }: Schemas['UsageSeries']): string | undefined {
  return week?.total_before ? formatChange(week.total / week.total_before - 1) : undefined
}

/** The number of requests in buckets that start at `time` (in milliseconds) or later. */
export function countSince(points: Point[], time: number): number {
  return points.reduce((sum, { at, count }) => (Date.parse(at) >= time ? sum + count : sum), 0)
}

/** Outcomes in charts, from the bottom of a bar to its top. */
export const OUTCOMES = ['valid', 'limited', 'denied', 'unavailable'] as const
export type Outcome = (typeof OUTCOMES)[number]
const OUTCOME_OF: Record<string, Outcome> = { VALID: 'valid', AGENT: 'valid', RATE_LIMITED: 'limited', USAGE_EXCEEDED: 'limited', UNAVAILABLE: 'unavailable' }

/** Requests in a bucket of time, by outcome. */
export interface Bucket {
  label: string
  counts: Record<Outcome, number>
}

/** Returns the buckets of a series in chronological order, including those without requests. `key`: count only requests with this key. */
export function bucketsOf(series: Schemas['UsageSeries'], key?: string): Bucket[] {
  const sums = new Map<number, Record<Outcome, number>>()
  const empty = (): Record<Outcome, number> => ({ valid: 0, limited: 0, denied: 0, unavailable: 0 })
  for (const point of series.points) {
    if (key === undefined || point.key === key) {
      const time = Date.parse(point.at)
      const counts = sums.get(time) ?? empty()
      counts[OUTCOME_OF[point.code ?? ''] ?? 'denied'] += point.count
      sums.set(time, counts)
    }
  }
  const buckets = []
  for (let time = Date.parse(series.since); time < Date.parse(series.until); time += series.width_s * 1000) {
    buckets.push({ label: formatShortTime(new Date(time).toISOString()), counts: sums.get(time) ?? empty() })
  }
  return buckets
}
