/**
 * A small store as today's version leaves it, for later versions to read or to refuse as docs/reliability.md says:
 *
 *     TIDEGAUGE_UPDATE_FIXTURES=1 npx tap test/faults/versions.test.ts
 *
 * writes `test/faults/fixtures/image-<format>-log-<format>/`: each file of the store packed by gzip, and `expected.jsonl`, what
 * the store held. A folder is written once and never changed: what was written then is what lies on somebody's disk.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';
import { IMAGE_FORMAT_VERSION } from '../../src/tsdb/image.ts';
import { LOG_FORMAT_VERSION } from '../../src/tsdb/log-format.ts';
import { openSite, type Site, settle, T0 } from '../faults/site.ts';
import type { HistogramToEncode } from './histogram-encoder.ts';
import { MemoryDisk } from './memory-disk.ts';
import { encodeExportRequest } from './otlp-encoder.ts';
import { encodeRequest } from './remote-write-2-encoder.ts';
import { encodeWriteRequest } from './remote-write-encoder.ts';
import { dump } from './store-dump.ts';

const FOLDER = fileURLToPath(new URL('../faults/fixtures', import.meta.url));

/** Something of each kind that the log and the image hold, at a second. */
async function pushAll({ writer, clock }: Site, second: number): Promise<void> {
  clock.advance(1000);
  const timestampMs = T0 + second * 1000;
  const text = `said{s="1"} ${second} ${timestampMs}\n`;
  const outcomes = [
    writer.remoteWrite(
      encodeWriteRequest([
        { labels: { __name__: 'sent', s: 'ä' }, samples: [{ timestampMs, value: second / 3 }] },
        // Too far ahead: refused, and the verdict says so.
        { labels: { __name__: 'sent', s: 'far' }, samples: [{ timestampMs: timestampMs + 700_000, value: 1 }] },
      ]),
    ),
    writer.remoteWrite2(
      encodeRequest([
        {
          labels: [['__name__', 'counted_total']],
          samples: [{ timestampMs, value: second, startTimestampMs: T0 - 5000 }],
        },
        { labels: [['__name__', 'spread']], histograms: [histogramOf(second, timestampMs)] },
      ]),
    ),
    writer.otlp(
      encodeExportRequest([
        {
          attributes: { 'service.name': 'shop' },
          metrics: [
            { name: 'depth', kind: 'gauge', points: [{ time: timestampMs, value: second }] },
            {
              name: 'jobs',
              kind: 'sum',
              temporality: 'delta',
              monotonic: true,
              points: [{ start: timestampMs - 1000, time: timestampMs, value: second }],
            },
          ],
        },
      ]),
    ),
    writer.text(Buffer.from(text), { isOpenMetrics: false, honorTimestamps: true, labels: [], onConflict: 'replaced' }),
  ];
  for (const { logged } of outcomes) await logged;
}

const histogramOf = (second: number, timestampMs: number): HistogramToEncode => ({
  timestampMs,
  count: 2 * second,
  sum: second * 2.5,
  schema: 1,
  zeroThreshold: 1e-9,
  positiveSpans: [[0, 2]],
  positive: [second, 0],
});

export interface StoredVersion {
  readonly name: string;
  readonly disk: MemoryDisk;
  /** What `dump` said of it. */
  readonly expected: ReadonlyMap<string, string>;
}

/** Writes today's; its folder must not be there yet. */
export async function writeFixture(): Promise<void> {
  const site = await openSite({ head: { memoryBytes: 16 * 2 ** 20, seriesMax: 100 } });
  for (let second = 1; second <= 5; second++) await pushAll(site, second);
  await settle(site);
  await site.storage.takeImage();
  for (let second = 6; second <= 8; second++) await pushAll(site, second);
  await settle(site);
  const folder = join(FOLDER, `image-${IMAGE_FORMAT_VERSION}-log-${LOG_FORMAT_VERSION}`);
  mkdirSync(folder);
  for (const [name, { bytes }] of site.disk.names) {
    const path = join(folder, `${name}.gz`);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, gzipSync(bytes, { level: 9 }));
  }
  writeFileSync(
    join(folder, 'expected.jsonl'),
    [...dump(site.head)].map((series) => `${JSON.stringify(series)}\n`).join(''),
  );
}

/** All that are kept. */
export function readFixtures(): StoredVersion[] {
  return readdirSync(FOLDER).map((name) => {
    const folder = join(FOLDER, name);
    const disk = new MemoryDisk();
    for (const path of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
      if (!path.endsWith('.gz')) continue;
      const bytes = gunzipSync(readFileSync(join(folder, path)));
      disk.names.set(path.slice(0, -3), { bytes, synced: bytes.length });
    }
    const lines = readFileSync(join(folder, 'expected.jsonl'), 'utf8').trimEnd().split('\n');
    return { name, disk, expected: new Map(lines.map((line) => JSON.parse(line) as [string, string])) };
  });
}
