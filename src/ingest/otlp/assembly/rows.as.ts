/** Appends rows of OTLP points, known and new, in the store's kernel. */
import { append, appendBeside } from '../../../tsdb/kernel/assembly/append';
import { LABEL_HASH, LABEL_WIRE, labelEntry } from '../../../tsdb/kernel/assembly/labels';
import { identityFind, isLive, labelsParse, recordOf, seriesCreate } from '../../../tsdb/kernel/assembly/series';
import {
  OUTCOME_STORED,
  REC_GENERATION,
  RESULT_OUTCOMES,
  SERIES_LIMIT,
  SB_ID_NEXT,
  SB_IN,
  SB_RESULT,
} from '../../../tsdb/kernel/layout';
import { noteStored } from '../../remote-write/assembly/walk.as';
import {
  NEW_BITS,
  NEW_BYTES,
  NEW_GENERATION,
  NEW_LABEL_BYTES,
  NEW_LABELS,
  NEW_OUTCOME,
  NEW_SERIES,
  NEW_START,
  NEW_TIME,
  OUTCOME_GONE,
  ROW_BITS,
  ROW_BYTES,
  ROW_GENERATION,
  ROW_OUTCOME,
  ROW_SERIES,
  ROW_START,
  ROW_TIME,
} from '../identity-layout';

/** Appends the n rows that were written to SB_IN; writes what became of each into it, and the counts to SB_RESULT. */
export function appendRows(n: u32): void {
  memory.fill(SB_RESULT, 0, 256);
  let row = <usize>load<u32>(SB_IN);
  for (let i: u32 = 0; i < n; i++) {
    const outcome = appendRow(row);
    store<u32>(row, outcome, ROW_OUTCOME);
    const count = SB_RESULT + RESULT_OUTCOMES + (<usize>outcome << 2);
    store<u32>(count, load<u32>(count) + 1);
    row += ROW_BYTES;
  }
  const stored = load<u32>(SB_RESULT, RESULT_OUTCOMES + OUTCOME_STORED * 4);
  if (stored != 0) noteStored(stored);
}

// @ts-ignore: decorator
@inline
function appendRow(row: usize): u32 {
  const id = load<u32>(row, ROW_SERIES);
  if (id >= load<u32>(SB_ID_NEXT)) return OUTCOME_GONE;
  const record = recordOf(id);
  if (!isLive(record) || load<u32>(record, REC_GENERATION) != load<u32>(row, ROW_GENERATION)) return OUTCOME_GONE;
  const start = load<f64>(row, ROW_START);
  const time = load<f64>(row, ROW_TIME);
  const bits = load<i64>(row, ROW_BITS);
  return start == 0 ? append(record, time, bits) : appendBeside(record, time, bits, start);
}

/**
 * Appends the rows of new points that were written to SB_IN, n bytes, and makes their series; writes into each what became
 * of it. A row with labels that cannot be those of a series is like one that the store refused: nothing is counted for it.
 */
export function appendNewRows(n: u32): void {
  let row = <usize>load<u32>(SB_IN);
  const end = row + n;
  // Neighbours have most of their labels in common.
  let model = recordOf(0);
  let stored: u32 = 0;
  for (; row < end; row += load<u32>(row, NEW_BYTES)) {
    store<u32>(row, OUTCOME_GONE, NEW_OUTCOME);
    const id = seriesOfRow(row, model);
    if (id == 0) continue;
    const record = recordOf(id);
    model = record;
    const start = load<f64>(row, NEW_START);
    const time = load<f64>(row, NEW_TIME);
    const bits = load<i64>(row, NEW_BITS);
    const outcome = start == 0 ? append(record, time, bits) : appendBeside(record, time, bits, start);
    store<u32>(row, id, NEW_SERIES);
    store<u32>(row, load<u32>(record, REC_GENERATION), NEW_GENERATION);
    store<u32>(row, outcome, NEW_OUTCOME);
    if (outcome == OUTCOME_STORED) stored++;
  }
  if (stored != 0) noteStored(stored);
}

/** The series of a new row, made if it is new; 0 if there is none. */
// @ts-ignore: decorator
@inline
function seriesOfRow(row: usize, model: usize): u32 {
  const labels = row + NEW_LABELS;
  const end = labels + load<u32>(row, NEW_LABEL_BYTES);
  const n = labelsParse(labels, end, model);
  if (n < 0 || load<u32>(labelEntry(n), LABEL_WIRE) != <u32>end) return 0;
  const known = identityFind(load<u32>(labelEntry(n), LABEL_HASH), labels, end, 0);
  if (known != 0) return known;
  const made = seriesCreate(n);
  return made == SERIES_LIMIT ? 0 : made;
}
