/** The columns of a table. */
import type { MessageKey } from '../text/preferences'

export interface Column {
  label: MessageKey
  /** text: on one line, and cut if the table is full; long: on several lines. By default name in the first column, otherwise text. */
  kind?: 'name' | 'text' | 'long' | 'time' | 'number' | 'state' | 'actions'
  /** The column can be hidden. Columns with higher numbers are hidden first. */
  hide?: number
  /** Field by which the column sorts, by default its name. */
  sort?: string
  /** Prefix of the texts of a state. */
  states?: string
  mono?: boolean
}

/** By name, which is that of its slot and of the field that it shows without a slot. The first column is the header of its row. */
export type Columns = Record<string, Column>
