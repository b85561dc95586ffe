/** Texts, the theme, which is stored in the browser, and formats of numbers and times. */
import { reactive, watchEffect } from 'vue'
import { en, type MessageKey } from '../locales/en'

export type { MessageKey }
export type Theme = 'system' | 'light' | 'dark'
type Parameters = Record<string, string | number>

const THEMES: Theme[] = ['system', 'light', 'dark']

export const preferences = reactive({
  theme: THEMES.find((theme) => theme === localStorage.getItem('theme')) ?? ('system' as Theme),
})

/** Returns the text for a key, with placeholders such as `{name}` replaced by parameters. */
export function t(key: MessageKey, parameters: Parameters = {}): string {
  return en[key].replace(/\{(\w+)\}/g, (match, name: string) => String(parameters[name] ?? match))
}

/** Returns the text for `prefix.value`, or the value itself if the catalogue has no such text. */
export function label(prefix: string, value: string): string {
  const key = `${prefix}.${value}`
  return key in en ? t(key as MessageKey) : value
}

export function setTheme(theme: Theme): void {
  preferences.theme = theme
  storePreferences()
}

/** Stores preferences that differ from the browser settings. Sign-out clears the storage and then calls this function again. */
export function storePreferences(): void {
  if (preferences.theme === 'system') {
    localStorage.removeItem('theme')
  } else {
    localStorage.setItem('theme', preferences.theme)
  }
}

watchEffect(() => {
  document.documentElement.dataset.theme = preferences.theme
})

/** Returns the language of a tag. Returns undefined if the tag is invalid: Intl throws RangeError for it. */
function languageOf(tag: string): string | undefined {
  try {
    return new Intl.Locale(tag).language
  } catch {
    return undefined
  }
}

/** Languages of the browser, preferred first. Browsers also report names of system locales, such as en-US@posix or c. */
const browserTags: readonly string[] = [...(navigator.languages ?? []), navigator.language]

/** The tag of the browser for the language of the page, such as en-GB, which determines the format of dates and numbers. */
const locale = browserTags.find((tag) => languageOf(tag) === 'en') ?? 'en'
const numbers = new Intl.NumberFormat(locale)
const absolute = new Intl.DateTimeFormat(locale, { dateStyle: 'medium', timeStyle: 'medium' })
const short = new Intl.DateTimeFormat(locale, { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit' })
const day = new Intl.DateTimeFormat(locale, { month: 'short', day: 'numeric' })
const hour = new Intl.DateTimeFormat(locale, { timeStyle: 'short' })
const clock = new Intl.DateTimeFormat(locale, { timeStyle: 'medium' })
const relative = new Intl.RelativeTimeFormat(locale, { numeric: 'auto' })
const UNITS: [Intl.RelativeTimeFormatUnit, number][] = [
  ['year', 31_536_000],
  ['month', 2_592_000],
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
  ['second', 1],
]

/** Fraction of a unit by which a relative time is rounded up: an expiry that was set to 3 days is "in 3 days" a minute later. */
const NEARLY = 0.02

export function formatNumber(value: number): string {
  return numbers.format(value)
}

/** Returns a change such as "+12%", or "0%". */
export function formatChange(ratio: number): string {
  return new Intl.NumberFormat(locale, { style: 'percent', signDisplay: 'exceptZero' }).format(ratio)
}

/** Returns a percentage such as "85%". */
export function formatPercent(percent: number): string {
  return new Intl.NumberFormat(locale, { style: 'percent' }).format(percent / 100)
}

/** The maximum total of a list in the API. */
export const TOTAL_MAX = 500

/** Returns the total of a list, such as `500+`. */
export function formatTotal(total: number): string {
  return formatNumber(total) + (total < TOTAL_MAX ? '' : '+')
}

/** Returns the date and time in the browser's time zone. */
export function formatTime(instant: string): string {
  return absolute.format(new Date(instant))
}

/** Returns the text with the timestamps of the API, and the values of datetime-local fields, in the browser's format and time zone. */
export function withTimes(text: string): string {
  return text.replace(/\b\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?/g, (time) => (Number.isNaN(Date.parse(time)) ? time : formatTime(time)))
}

/** Time of the day in the time zone of the browser. */
export function formatClock(time: number): string {
  return clock.format(time)
}

/** Axis labels for a time in milliseconds. */
export function formatDay(time: number): string {
  return day.format(time)
}

export function formatHour(time: number): string {
  return hour.format(time)
}

export function formatShortTime(instant: string): string {
  return short.format(new Date(instant))
}

/** Returns a relative time, such as "in 3 days". */
export function formatRelative(instant: string, now: number): string {
  const seconds = (new Date(instant).getTime() - now) / 1000
  const [unit, size] = UNITS.find(([, length]) => Math.abs(seconds) / length >= 1 - NEARLY) ?? ['second', 1]
  return relative.format(Math.trunc(seconds / size + Math.sign(seconds) * NEARLY), unit)
}

export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB']
  const power = bytes > 0 ? Math.min(Math.floor(Math.log2(bytes) / 10), units.length - 1) : 0
  return `${new Intl.NumberFormat(locale, { maximumFractionDigits: 1 }).format(bytes / 1024 ** power)} ${units[power]}`
}

/** Returns a duration with three significant digits, such as "12.4 ms". */
export function formatMilliseconds(ms: number): string {
  return `${new Intl.NumberFormat(locale, { maximumSignificantDigits: 3 }).format(ms)}\u00a0ms`
}

/** Returns a duration in the largest unit that divides it evenly, such as "15 min". */
export function formatDuration(seconds: number): string {
  const units: [string, number][] = [
    ['day', 86_400],
    ['hour', 3600],
    ['minute', 60],
  ]
  const [unit, size] = units.find(([, length]) => seconds >= length && seconds % length === 0) ?? ['second', 1]
  return new Intl.NumberFormat(locale, { style: 'unit', unit, unitDisplay: 'long' }).format(seconds / size)
}
