/** Receives server-sent events of the console. */
import { ref, type Ref } from 'vue'
import { operation, type Schemas } from './api/client'
import { may } from './session'
import type { Query } from './query'

type AuditEvent = Schemas['AuditEventView']

export interface EventHandlers {
  /** A new audit event. */
  audit?: (event: AuditEvent) => void
  /** The requests of the current and the previous hour, by result code. */
  usage?: (series: Schemas['UsageSeries']) => void
  /** `seq`: the last audit event that was sent. `first`: the connection was opened with this event. */
  heartbeat?: (seq: number, first: boolean) => void
}

/** Time without an event after which the connection counts as lost. The console sends an event every 15 seconds. */
const SILENCE_MS = 40_000

/** Time after which a rejected stream is opened again. After a lost connection, the browser opens the stream again. */
const RETRY_MS = 60_000

const COLLECT_MS = 250
const ROWS_MAX = 200

export class EventStream {
  /** True while events arrive. */
  readonly connected: Ref<boolean> = ref(false)
  #source: EventSource | undefined
  #lastEventAt = 0
  #retryAt = 0

  /** onRejected: called when the console rejects the stream, for example because the session has ended. */
  constructor(
    private readonly handlers: EventHandlers,
    private readonly onRejected: () => void,
  ) {}

  /** Opens the stream unless it is open, and opens it again if the connection is lost. Call this function periodically. */
  connect(): void {
    if (this.#source && this.connected.value && Date.now() - this.#lastEventAt > SILENCE_MS) {
      this.close()
    }
    const path = operation('stream_events')?.path
    if (this.#source || !path || !may('stream_events') || Date.now() < this.#retryAt) {
      return
    }
    const source = (this.#source = new EventSource(path))
    for (const name of ['audit', 'usage', 'heartbeat'] as const) {
      source.addEventListener(name, (event) => this.#receive(name, event))
    }
    source.onerror = () => {
      this.connected.value = false
      if (source.readyState === EventSource.CLOSED && source === this.#source) {
        this.#source = undefined
        this.#retryAt = Date.now() + RETRY_MS
        this.onRejected()
      }
    }
  }

  close(): void {
    this.#source?.close()
    this.#source = undefined
    this.connected.value = false
  }

  #receive(name: keyof EventHandlers, event: MessageEvent<string>): void {
    this.#lastEventAt = Date.now()
    const first = !this.connected.value
    this.connected.value = true
    if (name === 'heartbeat') {
      this.handlers.heartbeat?.(Number(event.lastEventId), first)
    } else {
      this.handlers[name]?.(JSON.parse(event.data))
    }
  }
}

/**
 * Handlers that keep a list of audit events current. New events are added to the beginning. If the list is filtered or events are
 * missing, the list is loaded again.
 *
 * `limit`: length of the list; undefined if the list may grow until it is loaded again.
 */
export function followAudit(
  query: Query<Schemas['AuditEventPage']>,
  { filtered = () => false, limit }: { filtered?: () => boolean; limit?: number } = {},
): EventHandlers {
  let timer: ReturnType<typeof setTimeout> | undefined

  function refresh(): void {
    timer ??= setTimeout(() => {
      timer = undefined
      void query.refresh()
    }, COLLECT_MS)
  }

  return {
    audit(event) {
      const rows = query.data && [event, ...query.data.events]
      if (filtered() || !rows || event.seq !== (rows[1]?.seq ?? 0) + 1 || (!limit && rows.length > ROWS_MAX)) {
        refresh()
      } else {
        query.replace({ ...query.data, events: rows.slice(0, limit) } as Schemas['AuditEventPage'])
      }
    },
    heartbeat(seq, first) {
      const newest = query.data?.events[0]?.seq ?? 0
      if (query.data && (filtered() ? first : seq > newest)) {
        refresh()
      }
    },
  }
}
