/** Calculates sums of usage counters. */
import type { Schemas } from './api/client'
import { en, type MessageKey } from './locales/en'
import { formatChange } from './preferences'

type Point = Schemas['UsagePointView']

export type Code = Extract<MessageKey, `code.${string}`> extends `code.${infer Name}` ? Name : never

/** Result codes of a verification. */
export const CODES = Object.keys(en).flatMap((key) => (key.startsWith('code.') ? (key.slice('code.'.length) as Code) : []))

/** Checks that deny requests. */
export const CHECKS = Object.keys(en).flatMap((key) => (key.startsWith('check.') ? key.slice('check.'.length) : []))

/** Returns the counts for a dimension, largest first. */
export function totalsBy(points: Point[], dimension: 'key' | 'core' | 'code'): { name: string; count: number }[] {
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

/** Returns one count for each bucket of the series in chronological order, including buckets without requests. */
export function bucketTotals(series: Schemas['UsageSeries']): { at: string; count: number }[] {
  const sums = new Map<number, number>()
  for (const { at, count } of series.points) {
    const time = new Date(at).getTime()
    sums.set(time, (sums.get(time) ?? 0) + count)
  }
  const buckets = []
  for (let time = new Date(series.since).getTime(); time < new Date(series.until).getTime(); time += series.width_s * 1000) {
    buckets.push({ at: new Date(time).toISOString(), count: sums.get(time) ?? 0 })
  }
  return buckets
}
