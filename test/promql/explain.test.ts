/** Plans that explain themselves, as a tree, as text, and over HTTP; and the outline that scaling judges coverage by. */

import pino from 'pino';
import { test } from 'tap';
import { buildHttp } from '../../src/api/http.ts';
import { registerPrometheus } from '../../src/api/prometheus/prometheus.ts';
import { defaultExemplars } from '../../src/ingest/write.ts';
import { labelsFromObject } from '../../src/model/labels.ts';
import { float64High, float64Low } from '../../src/model/sample.ts';
import { QueryEngine } from '../../src/promql/engine.ts';
import { type ExplainedNode, explanationText } from '../../src/promql/explain.ts';
import { Registry } from '../../src/telemetry/registry.ts';
import { KernelHead } from '../../src/tsdb/kernel-head.ts';
import { Metadata } from '../../src/tsdb/metadata.ts';

const T0 = 1_700_000_040_000;
const clock = { nowMs: () => T0, monotonicMs: () => 0 };
const head = new KernelHead({ clock, retentionMs: 1e15, outOfOrderMsMax: 1e15, futureMsMax: 1e15, seriesMax: 1000 });
for (let i = 0; i < 10; i++) {
  const ref = head.series(labelsFromObject({ __name__: 'requests_total', job: `j${i % 2}`, i: String(i) }));
  for (let k = -20; k <= 0; k++) head.append(ref, T0 + k * 15_000, float64Low(k + 30), float64High(k + 30));
}
const engine = new QueryEngine({ head, clock, registry: new Registry(), lookbackMs: 300_000 });

function flat(node: ExplainedNode): ExplainedNode[] {
  return [node, ...node.children.flatMap(flat)];
}

test('a tree says what is read, over which span, how often, and what is shared', async (t) => {
  const text =
    'sum by (job) (rate(requests_total{i!="3"}[1m] offset 30s)) / sum by (job) (rate(requests_total{i!="3"}[1m] offset 30s))';
  const range = { startMs: T0 - 60_000, endMs: T0, stepMs: 15_000, scope: null };
  const { root, type } = await engine.explain({ text, ...range });
  t.equal(type, 'instant vector');
  const nodes = flat(root);
  t.strictSame(
    nodes.map(({ id, operator, steps, sharedWith }) => [id, operator, steps, sharedWith]),
    [
      [1, '/', 5, null],
      [2, 'sum by (job)', 5, null],
      [3, 'rate()', 5, null],
      [4, 'range selector', 5, null],
      [5, 'sum by (job)', 5, 2],
    ],
  );
  t.strictSame(nodes[3]!.selection, {
    matchers: ['i!="3"', '__name__="requests_total"'],
    fromMs: T0 - 60_000 - 30_000 - 60_000,
    toMs: T0 - 30_000,
    windowMs: 60_000,
    offsetMs: 30_000,
    series: 9,
    samplesMax: 81,
  });
});

test('a tree knows steps of subqueries and what is the same at every step', async (t) => {
  const range = { startMs: T0 - 60_000, endMs: T0, stepMs: 15_000, scope: null };
  const { root } = await engine.explain({
    text: `max_over_time((requests_total + 1)[2m:30s]) - on (i) sum by (i) (requests_total @ ${T0 / 1000})`,
    ...range,
  });
  t.strictSame(
    flat(root).map(({ operator, steps, stepInvariant }) => [operator, steps, stepInvariant]),
    [
      ['- on (i)', 5, false],
      ['max_over_time()', 5, false],
      ['subquery', 5, false],
      ['+', 6, false],
      ['selector', 6, false],
      ['number', 6, false],
      ['sum by (i)', 1, true],
      ['selector', 1, false],
    ],
  );
  await t.rejects(engine.explain({ text: 'sum(', ...range }), { code: 'bad_data' });
});

test('the text has a line a node', async (t) => {
  const explanation = await engine.explain({
    text: 'topk(2, requests_total / requests_total)',
    startMs: T0,
    endMs: T0,
    stepMs: 0,
    scope: null,
  });
  t.equal(
    explanationText(explanation),
    [
      '1. topk',
      '  2. /',
      '    3. selector requests_total: 10 series, at most 210 samples; (2023-11-14T22:09:00.000Z, 2023-11-14T22:14:00.000Z]; looks back 5m',
      '    4. selector requests_total: shared with 3; 10 series, at most 210 samples; (2023-11-14T22:09:00.000Z, 2023-11-14T22:14:00.000Z]; looks back 5m',
      '  5. number 2',
      '',
    ].join('\n'),
  );
});

test('GET /api/v1/explain answers the tree, and text where that is asked for', async (t) => {
  const app = buildHttp({ logger: pino({ level: 'silent' }) });
  t.teardown(() => app.close());
  registerPrometheus(app, {
    exemplars: defaultExemplars(0),
    metadata: new Metadata(),
    engine,
    head,
    clock,
    isReady: () => true,
    version: '0',
    flags: {},
    queryTimeoutMs: 1000,
    retentionMs: 7_200_000,
    startTimeMs: T0,
  });
  const get = async (parameters: string) => {
    const { statusCode, body } = await app.inject({ method: 'GET', url: `/api/v1/explain?${parameters}` });
    return { statusCode, body };
  };
  const { statusCode, body } = await get(`query=sum(requests_total)&time=${T0 / 1000}`);
  const { status, data } = JSON.parse(body) as { status: string; data: { root: ExplainedNode } };
  t.strictSame(
    [statusCode, status, data.root.operator, data.root.children[0]!.selection!.series],
    [200, 'success', 'sum', 10],
  );
  t.match(
    (await get('query=sum(requests_total)&format=text')).body,
    /^1\. sum\n {2}2\. selector requests_total: 10 series/,
  );
  t.match((await get('query=up&start=0&end=60&step=15')).body, '"steps":5');
  t.match(await get('query=sum('), { statusCode: 400, body: /parse error/ });
  t.match(await get('query=up&format=yaml'), { statusCode: 400, body: /want json or text/ });
});

test('an outline says what each selector looks at', async (t) => {
  const f = (text: string, want: readonly object[]) => t.match(engine.outline(text).selectors, want, text);
  f('up', [{ windowMs: 0, offsetMs: 0, atMs: null, isInstant: true, asksForSilence: false }]);
  f('rate(up[5m] offset 1m) + absent(x @ 60 offset 1m)', [
    { windowMs: 300_000, offsetMs: 60_000, isInstant: false },
    { windowMs: 0, offsetMs: 60_000, atMs: 60_000, isInstant: true, asksForSilence: true },
  ]);
  f('max_over_time(rate(up[5m])[1h:1m] offset 2m)', [{ windowMs: 3_900_000, offsetMs: 120_000, isInstant: false }]);
  t.equal(engine.outline('1').type, 'scalar');
});
