/** Text over HTTP: what curl sends, its parameters, and every refusal. */
import { gzipSync } from 'node:zlib';
import { pino } from 'pino';
import { test } from 'tap';
import { buildHttp } from '../../../src/api/http.ts';
import { registerPush } from '../../../src/api/push/push.ts';
import { LIMITS } from '../../../src/model/limits.ts';
import { SCOPE_ALL } from '../../../src/model/scope.ts';
import { bench, dump, metric, NOW_MS } from '../../ingest/support.ts';

const OPEN_METRICS = 'application/openmetrics-text; version=1.0.0; charset=utf-8';

test('text is imported', async (t) => {
  const { writer, head, registry, metadata, exemplars } = bench();
  const app = buildHttp({ logger: pino({ level: 'silent' }) });
  registerPush(app, { writer, logger: pino({ level: 'silent' }) });
  const f = async (
    payload: string | Buffer,
    status: number,
    text: string | RegExp,
    { query = '', ...headers }: Record<string, string> = {},
  ) => {
    const url = `/api/v1/import/prometheus${query}`;
    const reply = await app.inject({ method: 'POST', url, headers, payload });
    t.equal(reply.statusCode, status, reply.payload);
    if (typeof text === 'string') t.equal(reply.payload, text);
    else t.match(reply.payload, text);
  };
  await f('a 1\n', 204, '', { 'content-type': 'application/x-www-form-urlencoded' });
  await f(`b{x="y"} 2 ${NOW_MS - 1000}\n`, 204, '', { 'content-type': 'text/plain; version=0.0.4' });
  await f(gzipSync('c 3'), 204, '', { 'content-encoding': 'gzip' });
  await f('d{job="own"} 4', 204, '', { query: '?extra_label=job=cron&extra_label=env=a=b' });
  await f('e 5', 204, '', { query: `?timestamp=${NOW_MS - 2000}` });
  await f(`f 6 ${NOW_MS / 1000 - 3}\n# EOF\n`, 204, '', { 'content-type': OPEN_METRICS });
  await f('', 204, '');
  const kept = ['a 1@0', 'b{x="y"} 2@-1000', 'c 3@0', 'd{env="a=b", job="cron"} 4@0', 'e 5@-2000', 'f 6@-3000'];
  t.strictSame(dump(head), kept);

  await f('g', 400, 'line that cannot be read: 1 refused, the first for "line 1: want a value: \\"g\\""\n');
  await f('{"a"} 1\n2 2\nh 7', 400, /^line that cannot be read: 1 refused/);
  await f('i 8', 400, 'cannot take OpenMetrics: it does not end with # EOF\n', { 'content-type': OPEN_METRICS });
  await f('i 8', 400, /^cannot take extra_label: got "1=2"/, { query: '?extra_label=1=2' });
  await f('i 8', 400, /^cannot take timestamp: got "now"/, { query: '?timestamp=now' });
  await f('i 8', 400, /^cannot decompress gzip body/, { 'content-encoding': 'gzip' });
  await f('i 8', 415, /^cannot take Content-Encoding: got "br"/, { 'content-encoding': 'br' });
  await f(gzipSync(Buffer.alloc(LIMITS.importBodyBytesMax + 1)), 413, /after decompression/, {
    'content-encoding': 'gzip',
  });
  t.strictSame(dump(head), [...kept.slice(0, 6), 'h 7@0'].sort());
  const described = '# HELP j Jobs.\n# TYPE j counter\n# UNIT j s\n';
  const withExemplar = `${described}j_total{q="a"} 9 # {trace_id="t"} 0.5\n# EOF\n`;
  await f(withExemplar, 204, '', { 'content-type': OPEN_METRICS });
  t.strictSame([...metadata.entries()], [['j', [{ type: 'counter', help: 'Jobs.', unit: 's' }]]]);
  const matcher = { name: '__name__', type: '=', value: 'j_total' } as const;
  t.match(exemplars.select([[matcher]], NOW_MS, NOW_MS, SCOPE_ALL), [
    {
      labels: ['__name__', 'j_total', 'q', 'a'],
      exemplars: [{ labels: ['trace_id', 't'], value: 0.5, timestampMs: NOW_MS }],
    },
  ]);
  const outcome = (name: string) =>
    metric(registry, `tidegauge_ingest_requests_total{protocol="text",outcome="${name}"}`);
  t.strictSame(['stored', 'partial', 'bad_body', 'bad_data', 'body_too_large'].map(outcome), [8, 2, 2, 2, 1]);
});
