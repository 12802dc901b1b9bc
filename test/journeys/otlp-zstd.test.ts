/**
 * OTLP over HTTP compressed with zstd, into a daemon whose Node has it. The frames are made here by hand, from the format's
 * specification (RFC 8878): the Node that runs the tests may be an older one than the daemon's.
 */
import { execFileSync } from 'node:child_process';
import { test } from 'tap';
import { startDaemon } from '../support/daemon.ts';
import { encodeExportRequest } from '../support/otlp-encoder.ts';
import { ownMetric } from './own-metrics.ts';
import { oneValue } from './query-client.ts';

const NODE = process.env.TIDEGAUGE_TEST_NODE || process.execPath;
const SCRIPT = "process.versions.node + ' ' + ('zstdDecompress' in require('zlib'))";
const [version, hasZstd] = execFileSync(NODE, ['-p', SCRIPT]).toString().trim().split(' ');
const skip = hasZstd === 'true' ? false : `Node ${version} has no zstd: 22.15 and newer have`;

const RAW = 0;
const RUN = 1;

function block(type: number, bytes: number, isLast: boolean): Buffer {
  const header = Buffer.alloc(3);
  header.writeUIntLE((bytes << 3) | (type << 1) | (isLast ? 1 : 0), 0, 3);
  return header;
}

/** A frame of a run of one byte, which decompression makes longer, and of bytes as they are. */
function zstdFrame(run: { readonly byte: number; readonly length: number }, text: Uint8Array): Buffer {
  // One segment, whose size is said in four bytes.
  const head = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0]);
  head.writeUInt32LE(run.length + text.length, 5);
  const parts: Buffer[] = [head];
  if (run.length > 0) parts.push(block(RUN, run.length, false), Buffer.of(run.byte));
  return Buffer.concat([...parts, block(RAW, text.length, true), text]);
}

test('bodies compressed with zstd are taken, and broken ones are refused', { skip }, async (t) => {
  const daemon = await startDaemon();
  t.teardown(() => daemon.stop());
  const { web, otlpHttp } = daemon.listen;
  const urls = [`http://${otlpHttp}/v1/metrics`, `http://${web}/api/v1/otlp/v1/metrics`];
  const send = (body: Buffer, type: string, url: string) =>
    fetch(url, { method: 'POST', headers: { 'content-type': type, 'content-encoding': 'zstd' }, body });
  const json = (name: string) =>
    Buffer.from(
      JSON.stringify({
        resourceMetrics: [
          {
            scopeMetrics: [
              { metrics: [{ name, gauge: { dataPoints: [{ timeUnixNano: `${Date.now()}000000`, asInt: '7' }] } }] },
            ],
          },
        ],
      }),
    );
  const points = [{ time: Date.now(), value: 9 }];
  const protobuf = Buffer.from(encodeExportRequest([{ metrics: [{ name: 'as_protobuf', kind: 'gauge', points }] }]));
  for (const [i, url] of urls.entries()) {
    const spaces = { byte: 0x20, length: 10_000 };
    t.equal((await send(zstdFrame(spaces, json(`as_json_${i}`)), 'application/json', url)).status, 200);
    t.equal(await oneValue(web, `as_json_${i}`), 7);
    t.equal((await send(zstdFrame({ byte: 0, length: 0 }, protobuf), 'application/x-protobuf', url)).status, 200);
    t.equal(await oneValue(web, 'as_protobuf'), 9);
  }
  const whole = zstdFrame({ byte: 0x20, length: 10_000 }, json('broken'));
  for (const [what, body] of [
    ['cut off', whole.subarray(0, whole.length - 10)],
    ['of another format', Buffer.concat([Buffer.of(0), whole.subarray(1)])],
  ] as const) {
    const reply = await send(body, 'application/json', urls[0]!);
    t.equal(reply.status, 400, what);
    t.match(await reply.json(), { code: 3, message: /^cannot decompress zstd body: / }, what);
  }
  // A bomb: blocks of 128 KiB of zeroes, four bytes each.
  const blocks = Array.from({ length: 513 }, () => [block(RUN, 131_072, false), Buffer.of(0)]).flat();
  const head = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x80, 0x38, 0, 0, 0, 0]);
  head.writeUInt32LE(513 * 131_072, 6);
  const bomb = Buffer.concat([head, ...blocks, block(RAW, 0, true)]);
  const reply = await send(bomb, 'application/json', urls[0]!);
  t.equal(reply.status, 413);
  t.match(await reply.json(), { code: 8, message: /^cannot take body: / });
  t.equal(await ownMetric(web, 'tidegauge_ingest_requests_total', { protocol: 'otlp', outcome: 'body_too_large' }), 1);
});
