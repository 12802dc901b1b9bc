/** `query_exemplars` and `metadata`, from a remote-write 2.0 body to the reply. */
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { test } from 'tap';
import { buildHttp } from '../../../src/api/http.ts';
import { answerExemplars } from '../../../src/api/prometheus/exemplars.ts';
import { answerMetadata } from '../../../src/api/prometheus/metadata.ts';
import { registerPrometheus } from '../../../src/api/prometheus/prometheus.ts';
import { QueryEngine } from '../../../src/promql/engine.ts';
import { bench, NOW_MS } from '../../ingest/support.ts';
import { encodeRequest, type Series2ToEncode } from '../../support/remote-write-2-encoder.ts';

const { writer, head, registry, exemplars, metadata } = bench();
const clock = { nowMs: () => NOW_MS, monotonicMs: () => 0 };
const engine = new QueryEngine({ head, clock, registry, lookbackMs: 300_000 });
const deps = { engine, head, exemplars, metadata, clock };

function series(name: string, namespace: string, type: number, help: string, value: number): Series2ToEncode {
  return {
    labels: [
      ['__name__', name],
      ['namespace', namespace],
    ],
    samples: [{ timestampMs: NOW_MS, value }],
    exemplars: [{ labels: [['trace_id', `<${namespace}>`]], value, timestampMs: NOW_MS + 250 }],
    metadata: { type, help, unit: '' },
  };
}

writer.remoteWrite2(
  encodeRequest([
    series('requests_total', 'shop', 1, 'Requests & more', 1.5),
    series('requests_total', 'bank', 1, 'Requests & more', 2),
    series('took_seconds_count', 'bank', 3, 'How long', 3),
  ]),
);

function build(): FastifyInstance {
  const app = buildHttp({ logger: pino({ level: 'silent' }) });
  registerPrometheus(app, {
    ...deps,
    isReady: () => true,
    version: '0.1.0',
    flags: {},
    queryTimeoutMs: 1000,
    retentionMs: 7_200_000,
    startTimeMs: NOW_MS,
  });
  return app;
}

const SECONDS = '1700000000.25';
const ONE = (name: string, namespace: string, value: string): string =>
  `{"seriesLabels":{"__name__":"${name}","namespace":"${namespace}"},"exemplars":[{"labels":{"trace_id":"\\u003c${namespace}\\u003e"},"value":"${value}","timestamp":${SECONDS.padEnd(14, '0')}}]}`;

test('replies, as Prometheus writes them', async (t) => {
  const app = build();
  const f = async (path: string, want: string): Promise<void> => {
    const reply = await app.inject({ method: 'GET', url: `/api/v1/${path}` });
    t.equal(reply.body, `{"status":"success","data":${want}}`, path);
  };
  const bad = async (path: string, want: RegExp): Promise<void> => {
    const reply = await app.inject({ method: 'GET', url: `/api/v1/${path}` });
    t.equal(reply.statusCode, 400, path);
    t.match(reply.json().error, want);
  };
  const [bank, shop] = [ONE('requests_total', 'bank', '2'), ONE('requests_total', 'shop', '1.5')];
  await f('query_exemplars?query=requests_total', `[${bank},${shop}]`);
  await f('query_exemplars?query=sum(rate(requests_total{namespace="shop"}[5m]))', `[${shop}]`);
  await f('query_exemplars?query=requests_total{namespace="shop"}/nothing', `[${shop}]`);
  await f('query_exemplars?query=nothing', '[]');
  await f(`query_exemplars?query=requests_total&start=${SECONDS}&end=${SECONDS}`, `[${bank},${shop}]`);
  await f(`query_exemplars?query=requests_total&end=1700000000.249`, '[]');
  const requests = '"requests_total":[{"type":"counter","help":"Requests \\u0026 more","unit":""}]';
  const took = '"took_seconds":[{"type":"histogram","help":"How long","unit":""}]';
  await f('metadata', `{${requests},${took}}`);
  await f('metadata?limit=1', `{${requests}}`);
  await f('metadata?limit=0', '{}');
  await f('metadata?limit=-1&limit_per_metric=1', `{${requests},${took}}`);
  await f('metadata?metric=took_seconds', `{${took}}`);
  await f('metadata?metric=nothing', '{}');
  await bad('metadata?limit=x', /^limit must be a number$/);
  await bad('query_exemplars?query=', /no expression found/);
  await bad('query_exemplars?query=up&start=2&end=1', /end timestamp must not be before start timestamp/);
});

test('who may see one namespace learns nothing of the others', async (t) => {
  const read = (answer: ReturnType<typeof answerExemplars>): string => [...(answer?.data ?? [])].join('');
  const query = new URLSearchParams({ query: '{__name__=~".+"}' });
  t.equal(read(answerExemplars(deps, query, ['shop'])), `[${ONE('requests_total', 'shop', '1.5')}]`);
  t.equal(read(answerExemplars(deps, query, [])), '[]');
  t.match(read(answerExemplars(deps, query, ['bank'])), /bank.*took_seconds_count/);
  const all = new URLSearchParams();
  t.notMatch(read(answerMetadata(deps, all, ['shop'])), /took_seconds/);
  t.match(read(answerMetadata(deps, all, ['bank'])), /requests_total.*took_seconds/);
  t.equal(read(answerMetadata(deps, all, [])), '{}');
});
