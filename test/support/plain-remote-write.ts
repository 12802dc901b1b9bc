/** The plain way of a remote-write body into a head: what the kernel's way is compared with. */
import { checkBody, FIELD, type MessageSchema, WireReader } from '../../src/ingest/protobuf.ts';
import { storeTimeSeries } from '../../src/ingest/remote-write/decode.ts';
import type { Tally } from '../../src/ingest/tally.ts';
import { defaultExemplars } from '../../src/ingest/write.ts';
import type { HeadWriter } from '../../src/tsdb/head.ts';

const { varint, fixed64, bytes } = FIELD;
const LABEL: MessageSchema = [undefined, bytes, bytes];
const SAMPLE: MessageSchema = [undefined, fixed64, varint];
const TIME_SERIES: MessageSchema = [undefined, LABEL, SAMPLE, bytes, bytes];
/** 1 timeseries, 3 metadata. */
const WRITE_REQUEST: MessageSchema = [undefined, TIME_SERIES, undefined, bytes];

/** Stores the samples of a decompressed body. Throws `bad_body`, and has then stored nothing. */
export function storeWriteRequest(body: Uint8Array, head: HeadWriter, tally: Tally): void {
  checkBody(body, WRITE_REQUEST);
  const sink = { head, exemplars: defaultExemplars(1000), latestMs: Infinity, tally };
  const reader = new WireReader(body);
  while (reader.next()) {
    if (reader.field === 1) {
      const outer = reader.enter();
      const start = reader.position;
      while (reader.next()) reader.skip();
      storeTimeSeries(body.subarray(start, reader.position), sink);
      reader.leave(outer);
    } else {
      if (reader.field === 3) tally.metadataIgnored++;
      reader.skip();
    }
  }
}
