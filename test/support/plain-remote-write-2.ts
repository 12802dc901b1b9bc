/** The plain way of a remote-write 2.0 body into a head: what the kernel's way is compared with. */
import { checkBody, FIELD, type MessageSchema, WIRE, WireReader } from '../../src/ingest/protobuf.ts';
import { type Symbols, storeSeries } from '../../src/ingest/remote-write/decode2.ts';
import type { Tally } from '../../src/ingest/tally.ts';
import { defaultExemplars } from '../../src/ingest/write.ts';
import type { HeadWriter } from '../../src/tsdb/head.ts';

const { varint, fixed64 } = FIELD;
/** 1 value, 2 timestamp, 3 start. */
const SAMPLE: MessageSchema = [undefined, fixed64, varint, varint];
/** 1 type, 3 help, 4 unit. */
const METADATA: MessageSchema = [undefined, varint, undefined, varint, varint];

/** Stores the samples of a decompressed body. Throws `bad_body`, and has then stored nothing. */
export function storePlainRequest(body: Uint8Array, head: HeadWriter, tally: Tally): void {
  const { texts, series } = readRequest(body);
  const symbols: Symbols = { count: texts.length, text: (i) => texts[i] ?? null };
  const sink = { head, exemplars: defaultExemplars(1000), latestMs: Infinity, tally };
  for (const timeSeries of series) storeSeries({ timeSeries, symbols, ref: null }, sink);
}

function readRequest(body: Uint8Array): { texts: (string | null)[]; series: Uint8Array[] } {
  const texts: (string | null)[] = [];
  const series: Uint8Array[] = [];
  const reader = new WireReader(body);
  while (reader.next()) {
    if (reader.field > 5) {
      reader.skip();
      continue;
    }
    if (reader.field < 4 || reader.wireType !== WIRE.bytes) reader.fail('a field of another version');
    if (reader.field === 4) texts.push(reader.readString());
    else {
      const outer = reader.enter();
      const start = reader.position;
      while (reader.next()) checkField(reader);
      series.push(body.subarray(start, reader.position));
      reader.leave(outer);
    }
  }
  return { texts, series };
}

function checkField(reader: WireReader): void {
  const { field, wireType } = reader;
  if (field > 6 || ((field === 1 || field === 6) && wireType === WIRE.varint)) {
    reader.skip();
    return;
  }
  if (wireType !== WIRE.bytes || field === 6) reader.fail(`wire type ${wireType} for field ${field}`);
  const outer = reader.enter();
  const message = reader.bytes.subarray(reader.position, reader.limit);
  if (field === 2) checkBody(message, SAMPLE);
  if (field === 5) checkBody(message, METADATA);
  while (field === 1 && reader.position < reader.limit) reader.readVarint();
  reader.leave(outer);
}
