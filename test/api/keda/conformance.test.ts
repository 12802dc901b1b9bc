/** The cases of the folder that TIDEGAUGE_CONFORMANCE names, through real sockets and a clock of the test's own. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';
import { runProgram, temporaryFolder } from '../../support/process.ts';
import type { KedaCase } from './cases.ts';
import { complaintsOf } from './conformance.ts';

const folder = process.env.TIDEGAUGE_CONFORMANCE;

test('conformance cases of KEDA and Kedify', {
  skip: folder === undefined && 'TIDEGAUGE_CONFORMANCE names no folder',
}, async (t) => {
  const cases = JSON.parse(readFileSync(join(folder!, 'keda', 'cases.json'), 'utf8')) as readonly KedaCase[];
  t.ok(cases.length >= 97, `${cases.length} cases`);
  for (const one of cases) {
    t.strictSame(await complaintsOf(one), [], one.id);
  }
});

test('a case that is not so fails', async (t) => {
  const given = {
    points: [{ metric: 'm', kind: 'gauge' as const, attributes: {}, value: 3, atSecond: 1000 }],
  };
  const trigger = { metadata: { metricQuery: 'm', targetValue: '5' } };
  const f = async (expect: KedaCase['expect'], complaint: RegExp) => {
    const [first] = await complaintsOf({ id: 'wrong', given, trigger, at: 1000, expect });
    t.match(first, complaint);
  };
  await f({ metrics: { float: 4, int: 3 } }, /metrics.float is 3, want 4/);
  await f({ active: false }, /active is true, want false/);
  await f({ spec: { float: 6, int: 5 } }, /spec.float is 5/);
  await f({ error: { on: ['IsActive'], code: 'NOT_FOUND', text: '' } }, /IsActive answers true, want NOT_FOUND/);
  await f({ stream: { until: 1002, trueAt: [1000] } }, /true at 1000, 1001, want 1000/);
  await f({ keda: { active: false } }, /active is true, want false/);
  await f({ keda: { error: true } }, /error is false, want true/);
});

test('errors of the triggers that KEDA polls by HTTP, and replies whose keys stand in another order', async (t) => {
  const given = { points: [{ metric: 'm', kind: 'gauge' as const, attributes: {}, value: 3, atSecond: 1000 }] };
  const f = async (more: Omit<KedaCase, 'id' | 'given' | 'at'>, complaint: RegExp | null) => {
    const complaints = await complaintsOf({ id: 'polled', given, at: 1000, ...more });
    if (complaint === null) t.strictSame(complaints, []);
    else t.match(complaints[0], complaint);
  };
  const api = (query: string, valueLocation = 'value') =>
    ({
      type: 'metrics-api',
      metadata: { url: `http://HOST/api/v1/scale/value?query=${query}`, valueLocation },
    }) as const;
  await f({ trigger: api('sum(nope)'), expect: { keda: { error: true } } }, null);
  await f({ trigger: api('sum(nope)'), expect: { http: { status: 404 }, keda: { error: true } } }, null);
  await f({ trigger: api('sum(m)'), expect: { keda: { error: true } } }, /error is false, want true/);
  await f({ trigger: api('sum(m)', 'nowhere'), expect: { keda: { error: true } } }, null);
  await f({ trigger: api('sum(m)'), expect: { keda: { milli: 3000, error: false } } }, null);
  await f({ trigger: api('sum(nope)'), expect: { keda: { milli: 3000 } } }, /status is 404, want 200/);
  const prometheus = (query: string) =>
    ({
      type: 'prometheus',
      metadata: { serverAddress: 'http://HOST', query, threshold: '5', namespace: 'shop' },
    }) as const;
  await f({ trigger: prometheus('2'), expect: { http: { status: 200, resultType: 'scalar', values: ['2'] } } }, null);
  await f({ trigger: prometheus('m'), expect: { http: { status: 200, values: ['4'] } } }, /values is \["3"\]/);
  await f({ trigger: prometheus('m[1m]'), expect: { keda: { milli: 0, active: false } } }, null);
  const strict = { ...prometheus('m[1m]').metadata, ignoreNullValues: 'false' };
  await f({ trigger: { type: 'prometheus', metadata: strict }, expect: { keda: { error: true } } }, null);
  const body = { value: 3, error: '', operation: 'query', ok: true };
  const rest = { method: 'POST', path: '/memstore/query', body: { query: 'm', operationOverTime: 'max' } };
  await f({ rest, expect: { http: { status: 200, body } } }, null);
  await f({ rest, expect: { http: { status: 200, body: { ...body, value: 4 } } } }, /body is .*want/);
});

test('the command prints what fails, counts, and ends with 1', async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const trigger = { metadata: { metricQuery: 'm', targetValue: '5' } };
  const one = { given: { points: [] }, trigger, at: 0 };
  const right = { ...one, id: 'right', expect: { spec: { name: 'default-so1', float: 5, int: 5 } } };
  const wrong = { ...one, id: 'wrong', expect: { spec: { float: 6, int: 6 } } };
  writeFileSync(join(folder.path, 'cases.json'), JSON.stringify([right, wrong]));
  writeFileSync(join(folder.path, 'right.json'), JSON.stringify([right]));
  const script = fileURLToPath(new URL('../../../scripts/conformance-keda.mjs', import.meta.url));
  const f = async (names: readonly string[], code: number, stdout: RegExp) => {
    const done = await runProgram(process.execPath, [script, ...names.map((name) => join(folder.path, name))]);
    t.equal(done.code, code, done.stderr);
    t.match(done.stdout, stdout);
  };
  await f(['right.json'], 0, /^1 passed, 0 failed\n$/);
  await f(
    ['right.json', '.'],
    1,
    /^FAILED wrong\n {2}spec.float is 5, want 6\n {2}spec.int is "5", want "6"\n2 passed, 1 failed\n$/,
  );
  await f([], 2, /^$/);
});
