/** Language and theme preferences, which are stored in the browser. */
import { computed, reactive, watchEffect } from 'vue'
import { en, type MessageKey } from './locales/en'

export type { MessageKey }
export type Language = 'en' | 'de'
export type Theme = 'system' | 'light' | 'dark'
type Parameters = Record<string, string | number>

const LANGUAGES: Language[] = ['en', 'de']
const THEMES: Theme[] = ['system', 'light', 'dark']

function stored<Value extends string>(name: string, allowed: Value[]): Value | undefined {
  return allowed.find((value) => value === localStorage.getItem(name))
}

/** Languages of the browser, preferred first. Browsers also report names of system locales, such as en-US@posix or c. */
const browserTags: readonly string[] = [...(navigator.languages ?? []), navigator.language]
const browserLanguage: Language = browserTags.flatMap((tag) => LANGUAGES.find((language) => language === languageOf(tag)) ?? [])[0] ?? 'en'
export const preferences = reactive({
  language: stored('language', LANGUAGES) ?? browserLanguage,
  theme: stored('theme', THEMES) ?? ('system' as Theme),
})

/** Returns the language of a tag. Returns undefined if the tag is invalid: Intl throws RangeError for it. */
function languageOf(tag: string): string | undefined {
  try {
    return new Intl.Locale(tag).language
  } catch {
    return undefined
  }
}

const catalogues = reactive<{ en: Record<MessageKey, string>; de?: Record<MessageKey, string> }>({ en })
const messages = computed(() => catalogues[preferences.language] ?? catalogues.en)

/** Loads the catalogue for the language. Text is in English until the catalogue is loaded. */
export async function loadMessages(): Promise<void> {
  if (preferences.language === 'de' && !catalogues.de) {
    catalogues.de = (await import('./locales/de')).de
  }
}

/** Returns the text for a key in the user's language, with placeholders such as `{name}` replaced by parameters. */
export function t(key: MessageKey, parameters: Parameters = {}): string {
  return messages.value[key].replace(/\{(\w+)\}/g, (match, name: string) => String(parameters[name] ?? match))
}

/** Returns the text for `prefix.value`, or the value itself if the catalogue has no such text. */
export function label(prefix: string, value: string): string {
  const key = `${prefix}.${value}`
  return key in messages.value ? t(key as MessageKey) : value
}

export function setLanguage(language: Language): void {
  preferences.language = language
  storePreferences()
}

export function setTheme(theme: Theme): void {
  preferences.theme = theme
  storePreferences()
}

/** Stores preferences that differ from the browser settings. Sign-out clears the storage and then calls this function again. */
export function storePreferences(): void {
  store('language', preferences.language, browserLanguage)
  store('theme', preferences.theme, 'system')
}

function store(name: string, value: string, initial: string): void {
  if (value === initial) {
    localStorage.removeItem(name)
  } else {
    localStorage.setItem(name, value)
  }
}

watchEffect(() => {
  document.documentElement.lang = preferences.language
  document.documentElement.dataset.theme = preferences.theme
  void loadMessages()
})

/** The tag of the browser for the user's language, such as en-GB, which determines the date format. */
const locale = computed(() => browserTags.find((tag) => languageOf(tag) === preferences.language) ?? preferences.language)
const numbers = computed(() => new Intl.NumberFormat(locale.value))
const absolute = computed(() => new Intl.DateTimeFormat(locale.value, { dateStyle: 'medium', timeStyle: 'medium' }))
const short = computed(
  () => new Intl.DateTimeFormat(locale.value, { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit' }),
)
const clock = computed(() => new Intl.DateTimeFormat(locale.value, { timeStyle: 'medium' }))
const relative = computed(() => new Intl.RelativeTimeFormat(locale.value, { numeric: 'auto' }))
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
  return numbers.value.format(value)
}

/** Returns the date and time in the browser's time zone. */
export function formatTime(instant: string): string {
  return absolute.value.format(new Date(instant))
}

/** Time of the day in the time zone of the browser. */
export function formatClock(time: number): string {
  return clock.value.format(time)
}

export function formatShortTime(instant: string): string {
  return short.value.format(new Date(instant))
}

/** Returns a relative time, such as "in 3 days". */
export function formatRelative(instant: string, now: number): string {
  const seconds = (new Date(instant).getTime() - now) / 1000
  const [unit, size] = UNITS.find(([, length]) => Math.abs(seconds) / length >= 1 - NEARLY) ?? ['second', 1]
  return relative.value.format(Math.trunc(seconds / size + Math.sign(seconds) * NEARLY), unit)
}

export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB']
  const power = bytes > 0 ? Math.min(Math.floor(Math.log2(bytes) / 10), units.length - 1) : 0
  return `${new Intl.NumberFormat(locale.value, { maximumFractionDigits: 1 }).format(bytes / 1024 ** power)} ${units[power]}`
}

/** Returns a duration with three significant digits, such as "12.4 ms". */
export function formatMilliseconds(ms: number): string {
  return formatUnit(ms, 'ms')
}

export function formatSeconds(seconds: number): string {
  return formatUnit(seconds, 's')
}

function formatUnit(value: number, symbol: string): string {
  return `${new Intl.NumberFormat(locale.value, { maximumSignificantDigits: 3 }).format(value)}\u00a0${symbol}`
}

/** Returns a duration in the largest unit that divides it evenly, such as "15 min". */
export function formatDuration(seconds: number): string {
  const units: [string, number][] = [
    ['day', 86_400],
    ['hour', 3600],
    ['minute', 60],
  ]
  const [unit, size] = units.find(([, length]) => seconds >= length && seconds % length === 0) ?? ['second', 1]
  return new Intl.NumberFormat(locale.value, { style: 'unit', unit, unitDisplay: 'long' }).format(seconds / size)
}
