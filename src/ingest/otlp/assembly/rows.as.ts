/** Appends rows of OTLP points, known and new, in the store's kernel. */
import { append, appendBeside } from '../../../tsdb/kernel/assembly/append';
import { LABEL_HASH, LABEL_PAIR, labelEntry, labelOfPair, pairFind } from '../../../tsdb/kernel/assembly/labels';
import {
  identityOfPairs,
  isLive,
  labelParse,
  noteHash,
  recordOf,
  seriesCreate,
} from '../../../tsdb/kernel/assembly/series';
import {
  BLOB_PAIR,
  OUTCOME_STORED,
  REC_GENERATION,
  REC_SET,
  RESULT_OUTCOMES,
  SB_ID_NEXT,
  SB_IN,
  SB_LABELS_MAX,
  SB_RESULT,
  SERIES_LIMIT,
  SET_ENTRY_BYTES,
} from '../../../tsdb/kernel/layout';
import { noteStored } from '../../remote-write/assembly/walk.as';
import {
  NEW_ATTRIBUTES,
  NEW_BITS,
  NEW_BYTES,
  NEW_GENERATION,
  NEW_HEADER_BYTES,
  NEW_LABELS,
  NEW_OUTCOME,
  NEW_SERIES,
  NEW_START,
  NEW_TIME,
  OUTCOME_GONE,
  ROW_ATTRIBUTE_BYTES,
  ROW_BITS,
  ROW_BYTES,
  ROW_GENERATION,
  ROW_LABEL_BYTES,
  ROW_LABEL_LENGTH,
  ROW_LABEL_PAIR,
  ROW_LABEL_WIRED,
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
  let stored: u32 = 0;
  for (; row < end; row += load<u32>(row, NEW_BYTES)) {
    store<u32>(row, OUTCOME_GONE, NEW_OUTCOME);
    const id = seriesOfRow(row);
    if (id == 0) continue;
    const record = recordOf(id);
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

/** The series of a new row, made if it is new, with the pairs of its labels written into it; 0 if there is none. */
// @ts-ignore: decorator
@inline
function seriesOfRow(row: usize): u32 {
  const n = load<u32>(row, NEW_LABELS);
  const labels = row + NEW_HEADER_BYTES + load<u32>(row, NEW_ATTRIBUTES) * ROW_ATTRIBUTE_BYTES;
  if (n > load<u32>(SB_LABELS_MAX)) return 0;
  let isAllKnown = true;
  let isAnyWired = false;
  let at = labels;
  for (let i: u32 = 0; i < n; i++) {
    const label = labelEntry(i);
    const length = load<u32>(at, ROW_LABEL_LENGTH);
    if ((length & ROW_LABEL_WIRED) == 0) {
      labelOfPair(label, load<u32>(at, ROW_LABEL_PAIR), length);
      at += ROW_LABEL_BYTES;
      continue;
    }
    isAnyWired = true;
    const wire = at + ROW_LABEL_BYTES;
    const end = wire + (length & ~ROW_LABEL_WIRED);
    if (labelParse(label, wire, end) != end) return 0;
    const pair = pairFind(wire, length & ~ROW_LABEL_WIRED, load<u32>(label, LABEL_HASH));
    store<u32>(label, <u32>pair, LABEL_PAIR);
    // What no series has, this one has alone.
    if (pair == 0) isAllKnown = false;
    at = end;
  }
  const hash = noteHash(n);
  let id = isAllKnown ? identityOfPairs(hash, n) : 0;
  if (id == 0) id = seriesCreate(n);
  if (id == SERIES_LIMIT) return 0;
  if (isAnyWired) notePairs(labels, n, id);
  return id;
}

/** Writes the pairs of a series into the labels of its row. */
function notePairs(at: usize, n: u32, id: u32): void {
  const set = <usize>load<u32>(recordOf(id), REC_SET);
  for (let i: u32 = 0; i < n; i++) {
    const length = load<u32>(at, ROW_LABEL_LENGTH);
    const blob = <usize>load<u32>(set + i * SET_ENTRY_BYTES);
    store<u32>(at, load<u32>(blob, BLOB_PAIR), ROW_LABEL_PAIR);
    at += ROW_LABEL_BYTES + ((length & ROW_LABEL_WIRED) == 0 ? 0 : length & ~ROW_LABEL_WIRED);
  }
}
