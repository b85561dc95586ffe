/** Calculates sums of usage counters. */
import { call, type Schemas } from '../api/client'
import { secondsOf } from '../lists/filters'
import { RESULTS } from '../locales/results'
import { formatChange, formatShortTime } from '../text/preferences'

const DAY_S = 86_400
/** Buckets of a minute are kept for this time. */
const MINUTES_S = 2 * DAY_S
type Point = Schemas['UsagePointView']
export type Dimension = 'key' | 'core' | 'code' | 'customer' | 'tag'

export type Code = Extract<keyof typeof RESULTS, `code.${string}`> extends `code.${infer Name}` ? Name : never
export type Width = NonNullable<NonNullable<Parameters<typeof call<'read_usage'>>[1]>['query']>['width']

/** Result codes of a verification. */
export const CODES = Object.keys(RESULTS).flatMap((key) => (key.startsWith('code.') ? (key.slice('code.'.length) as Code) : []))

/** Checks that deny requests. */
export const CHECKS = Object.keys(RESULTS).flatMap((key) => (key.startsWith('check.') ? key.slice('check.'.length) : []))

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

/** Groups of results, from the bottom of a bar to its top. */
export const TONES = ['valid', 'limited', 'denied', 'unavailable'] as const
export type Tone = (typeof TONES)[number]
const TONE_OF: Record<string, Tone> = { VALID: 'valid', AGENT: 'valid', RATE_LIMITED: 'limited', USAGE_EXCEEDED: 'limited', limit: 'limited', credits: 'limited', UNAVAILABLE: 'unavailable', state: 'unavailable' }

/** The group of a result code or a failed check. */
export function toneOf(result: string): Tone {
  return TONE_OF[result] ?? 'denied'
}

/** Requests in a bucket of time, by result code. Times are in milliseconds. */
export interface Bucket {
  at: number
  end: number
  label: string
  counts: Record<string, number>
}

/** Returns the buckets of a series in chronological order, including those without requests. `key`: count only requests with this key. */
export function bucketsOf(series: Schemas['UsageSeries'], key?: string): Bucket[] {
  const sums = new Map<number, Record<string, number>>()
  for (const point of series.points) {
    if (key === undefined || point.key === key) {
      const time = Date.parse(point.at)
      const counts = sums.get(time) ?? {}
      counts[point.code ?? ''] = (counts[point.code ?? ''] ?? 0) + point.count
      sums.set(time, counts)
    }
  }
  const buckets = []
  const width = series.width_s * 1000
  for (let at = Date.parse(series.since); at < Date.parse(series.until); at += width) {
    buckets.push({ at, end: at + width, label: formatShortTime(new Date(at).toISOString()), counts: sums.get(at) ?? {} })
  }
  return buckets
}

/** Time ranges of a chart. */
export const CHART_PERIODS = ['today', '24h', '7d', '30d']

/** The query for a chart: of these times, or of a period, by default of the last 24 hours, with buckets of a suitable width. */
export function chartQuery(period: string, range: { since?: string; until?: string } = {}): { since: string; until?: string; width: Width } {
  const end = range.until ? Date.parse(range.until) : Date.now()
  const start = range.since ? Date.parse(range.since) : period === 'today' ? new Date(end).setHours(0, 0, 0, 0) : end - (secondsOf(period) || DAY_S) * 1000
  const seconds = (end - start) / 1000
  const isRecent = (Date.now() - start) / 1000 < MINUTES_S
  return { since: new Date(start).toISOString(), until: range.until, width: seconds <= 7200 && isRecent ? 'minute' : seconds > 14 * DAY_S ? 'day' : 'hour' }
}
