/** The cases of the folder that TIDEGAUGE_CONFORMANCE names, through real sockets and a clock of the test's own. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
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
});
