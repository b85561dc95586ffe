/** States of the instances of Cores. */
import type { Schemas } from './api/client'

export function stateOf(core: Schemas['CoreView']): string {
  if (core.draining) return 'draining'
  if (!core.live) return 'expired'
  return core.healthy ? 'live' : 'unhealthy'
}
