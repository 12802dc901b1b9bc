/** Appends rows of known OTLP points, in the store's kernel. */
import { append, appendBeside } from '../../../tsdb/kernel/assembly/append';
import { isLive, recordOf } from '../../../tsdb/kernel/assembly/series';
import {
  OUTCOME_STORED,
  REC_GENERATION,
  RESULT_OUTCOMES,
  SB_ID_NEXT,
  SB_IN,
  SB_RESULT,
} from '../../../tsdb/kernel/layout';
import { noteStored } from '../../remote-write/assembly/walk.as';
import {
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
