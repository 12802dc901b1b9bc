/**
 * The published receiver cases of remote-write: all of them through sockets as they were written, for 2.0; and those whose
 * series carry floats once more as 1.0, without what only 2.0 can say (headers with counts, its media type).
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { test } from 'tap';
import { buildHttp } from '../../../src/api/http.ts';
import { registerPush } from '../../../src/api/push/push.ts';
import { bench, NOW_MS } from '../../ingest/support.ts';
import { encodeWriteRequest } from '../../support/remote-write-encoder.ts';
import { caseFiles, main, runCaseFile } from './remote-write-cases.ts';

const logger = pino({ level: 'silent' });

interface Case {
  readonly id: string;
  readonly test: string;
  readonly name: string;
  readonly proto?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly corruptFirstByte?: number;
  readonly series: readonly {
    readonly labels: Readonly<Record<string, string>>;
    readonly sample?: { readonly offsetMs: number; readonly value: number | string };
    readonly histogram?: unknown;
    readonly exemplars?: readonly unknown[];
  }[];
  readonly expect: { readonly ok: boolean; readonly exact?: number };
}

const corpus = process.env.TIDEGAUGE_CONFORMANCE;
const skip = corpus === undefined ? 'TIDEGAUGE_CONFORMANCE does not name the folder of the conformance cases' : false;
const hasHistogram = (one: Case): boolean => one.series.some(({ histogram }) => histogram !== undefined);

test('receiver cases, through sockets', { skip }, async (t) => {
  let count = 0;
  for (const path of caseFiles([join(corpus ?? '', 'remote-write')])) {
    for (const { id, title, faults } of await runCaseFile(path)) {
      t.strictSame(faults, [], `${id} ${title}`);
      count++;
    }
  }
  t.ok(count >= 84, `${count} cases`);
});

test('receiver cases with floats, as remote-write 1.0', { skip }, async (t) => {
  const file = join(corpus ?? '', 'remote-write', 'receiver-cases.json');
  const { cases } = JSON.parse(readFileSync(file, 'utf8')) as { cases: Case[] };
  const taken = cases.filter((one) => !hasHistogram(one));
  t.comment(`${taken.length} of ${cases.length} cases; the others carry native histograms`);
  t.ok(taken.length >= 60);
  for (const one of taken) {
    const { writer, head } = bench();
    const app = buildHttp({ logger });
    registerPush(app, { writer, logger });
    const payload = Buffer.from(
      encodeWriteRequest(
        one.series.map(({ labels, sample, exemplars }) => ({
          labels,
          samples:
            sample === undefined
              ? []
              : [
                  {
                    timestampMs: NOW_MS + sample.offsetMs,
                    value: Number(String(sample.value).replace('Inf', 'Infinity')),
                  },
                ],
          exemplars: exemplars?.length ?? 0,
        })),
      ),
    );
    if (one.corruptFirstByte !== undefined) payload[0] = one.corruptFirstByte;
    const headers = { 'content-type': 'application/x-protobuf', 'content-encoding': 'snappy', ...one.headers };
    const what = `${one.id} ${one.test} ${one.name}`;
    for (let i = 0; i < 2; i++) {
      const reply = await app.inject({ method: 'POST', url: '/api/v1/write', headers, payload });
      const want = one.expect.ok ? 204 : (one.expect.exact ?? 400);
      t.equal(reply.statusCode, want, `${what}: ${reply.payload}`);
    }
    if (one.expect.ok)
      t.equal(head.stats().samples, one.series.filter(({ sample }) => sample !== undefined).length, what);
  }
});

test('from the command line: each failing case is printed, and the exit status is 1', async (t) => {
  const series = [{ labels: { __name__: 'up' }, sample: { offsetMs: 0, value: 1 } }];
  const one = { id: 'a1', test: 'T', name: 'right', rfc: 'MUST', proto: 'io.prometheus.write.v2.Request', series };
  const right = { ...one, expect: { ok: true, must: '2xx', samples: 1 } };
  const wrong = { ...one, id: 'b2', name: 'wrong', expect: { ok: true, must: '2xx', samples: 2 } };
  const defaultHeaders = {
    'content-encoding': 'snappy',
    'content-type': 'application/x-protobuf;proto=io.prometheus.write.v2.Request',
    'x-prometheus-remote-write-version': '2.0.0',
  };
  const folder = t.testdir();
  const f = async (cases: readonly object[], status: number, want: RegExp): Promise<void> => {
    const path = join(folder, 'cases.json');
    writeFileSync(path, JSON.stringify({ defaultHeaders, cases }));
    const printed = t.capture(console, 'log');
    t.equal(await main([path]), status);
    const lines = printed().map(({ args }) => String(args[0]));
    printed.restore();
    t.match(lines.join('\n'), want);
  };
  await f([right], 0, /^1 passed, 0 failed$/);
  await f([right, wrong], 1, /^FAIL b2 [\s\S]*samples written: got 1, want 2 .*\n1 passed, 1 failed$/);
});
