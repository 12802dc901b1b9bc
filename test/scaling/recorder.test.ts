import { test } from 'tap';
import type { Reading } from '../../src/scaling/answer.ts';
import { type Decision, Recorder, type StateChange, type Subject } from '../../src/scaling/recorder.ts';
import { ScalingStack } from '../support/scaling-stack.ts';

function subjectOf(name: string, more: Partial<Subject> = {}): Subject {
  const query = `sum(rate(http_requests_total{namespace="shop", service="${name}", code=~"5.."}[2m])) / 2`;
  const asked = { surface: 'keda', namespace: 'shop', query, matchers: [], scope: null, policy: 'noData=last:5m' };
  return { name, ...asked, target: 10, activation: 0, ...more };
}

function valueAt(timeMs: number, value: number): Reading {
  const basis = { timeMs, newestMs: timeMs - 3000, series: 50, sourcesExpected: 5, sourcesSeen: 5 };
  return { kind: 'value', value, labels: [], origin: 'query', note: '', ...basis };
}

function absenceAt(timeMs: number, reason: string): Reading {
  const basis = { timeMs, newestMs: null, series: 0, sourcesExpected: 0, sourcesSeen: 0 };
  return { kind: 'absence', code: 'stale', reason, ...basis };
}

test('what was told is kept as it was told, newest first, and can be filtered and paged', async (t) => {
  const recorder = new Recorder();
  recorder.record(subjectOf('web'), valueAt(1000, 7), 0.25);
  recorder.record(subjectOf('api', { namespace: 'other' }), absenceAt(2000, 'stale since noon'), 1);
  for (let i = 0; i < 10; i++) recorder.record(subjectOf('web'), valueAt(3000 + i, i), 1);
  const first = recorder.decisions({ limit: 100, toMs: 1000 })[0] as Decision;
  t.strictSame(first, {
    id: 0,
    subject: subjectOf('web'),
    timeMs: 1000,
    value: 7,
    outcome: 'value',
    reason: '',
    newestMs: -2000,
    series: 50,
    sourcesExpected: 5,
    sourcesSeen: 5,
    latencyMs: 0.25,
  });
  const ids = (filter: Parameters<Recorder['decisions']>[0]) => recorder.decisions(filter).map(({ id }) => id);
  t.strictSame(ids({ limit: 3 }), [11, 10, 9]);
  t.strictSame(ids({ limit: 3, before: 9 }), [8, 7, 6]);
  t.strictSame(ids({ limit: 9, namespace: 'other' }), [1]);
  t.strictSame(ids({ limit: 9, outcome: 'stale' }), [1]);
  t.strictSame(ids({ limit: 9, fromMs: 3008 }), [11, 10]);
  t.strictSame(ids({ limit: 9, name: 'web', surface: 'kubernetes' }), []);
  t.match(recorder.decisions({ limit: 1, outcome: 'stale' }), [
    { value: null, reason: 'stale since noon', newestMs: null },
  ]);
});

test('a full ring gives up its oldest, however long the texts are', async (t) => {
  const recorder = new Recorder({ ringBytes: 1000 });
  for (let i = 0; i < 500; i++) {
    recorder.record(subjectOf('web'), absenceAt(i, 'é'.repeat((i * 7) % 150)), 0);
    const kept = recorder.decisions({ limit: 100 });
    t.ok(kept.length === recorder.count && kept.length >= Math.min(i + 1, 3), `${kept.length} kept`);
    for (const [k, decision] of kept.entries()) {
      const want = 'é'.repeat(Math.min((decision.timeMs * 7) % 150, 100));
      if (decision.id !== i - k || decision.timeMs !== i - k || decision.reason !== want) t.fail(`decision ${i - k}`);
    }
  }
});

test('subjects that were not used for longest are given up, and their decisions with them', async (t) => {
  const recorder = new Recorder({ subjectsBytesMax: 5000 });
  for (let i = 0; i < 100; i++) recorder.record(subjectOf(`web-${i}`), valueAt(i, i), 0);
  t.ok(recorder.subjects < 10);
  const kept = recorder.decisions({ limit: 1000 });
  t.equal(kept.length, recorder.subjects);
  t.equal(kept[0]!.subject.name, 'web-99');
});

test('an event tells when the state of an asker changes, and only then', async (t) => {
  const events: string[] = [];
  const onChange = ({ subject, from, to }: StateChange) => void events.push(`${subject.name}: ${from} → ${to}`);
  const recorder = new Recorder({ onChange });
  recorder.record(subjectOf('web'), valueAt(1, 1), 0);
  recorder.record(subjectOf('web'), valueAt(2, 2), 0);
  recorder.record(subjectOf('web'), absenceAt(3, 'gone'), 0);
  recorder.record(subjectOf('api'), absenceAt(4, 'gone'), 0);
  recorder.record(subjectOf('web'), absenceAt(5, 'still gone'), 0);
  recorder.record(subjectOf('web'), { ...valueAt(6, 6), origin: 'held' } as Reading, 0);
  t.strictSame(events, ['web: null → value', 'web: value → stale', 'api: null → stale', 'web: stale → held']);
});

test('10,000 triggers are kept in 16 MiB', async (t) => {
  if (globalThis.gc === undefined) {
    const { setFlagsFromString } = await import('node:v8');
    const { runInNewContext } = await import('node:vm');
    setFlagsFromString('--expose-gc');
    globalThis.gc = runInNewContext('gc') as typeof globalThis.gc;
  }
  const used = (): number => {
    globalThis.gc!();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  const before = used();
  const recorder = new Recorder();
  for (let round = 0; round < 20; round++) {
    for (let i = 0; i < 10_000; i++) {
      const at = round * 15_000 + i;
      recorder.record(subjectOf(`web-${i}`), i % 10 === 0 ? absenceAt(at, `stale since ${at}`) : valueAt(at, i), 1);
    }
  }
  const bytes = used() - before;
  t.equal(recorder.subjects, 10_000);
  t.ok(recorder.count > 100_000, `${recorder.count} decisions`);
  t.ok(bytes < 16 * 1024 * 1024, `${(bytes / 1024 / 1024).toFixed(1)} MiB`);
  t.comment(
    `${(bytes / 1024 / 1024).toFixed(1)} MiB for ${recorder.subjects} triggers and ${recorder.count} decisions`,
  );
});

test('Readings are recorded for whom they were, once a pair', async (t) => {
  const stack = new ScalingStack();
  stack.put({ __name__: 'depth', pod: 'a' }, 5);
  const asker = { namespace: 'shop', name: 'web', call: 'GetMetrics', target: 10, activation: 0 };
  await stack.readings.read({ query: 'depth', scope: ['shop'], surface: 'keda', asker });
  await stack.readings.read({ query: 'depth', scope: null, surface: 'keda', asker });
  await stack.readings.read({ query: 'depth', scope: null, surface: 'keda' });
  t.match(stack.recorder.decisions({ limit: 9 }), [
    { value: 5, outcome: 'value', series: 1, sourcesExpected: 1, subject: { name: 'web', scope: null, target: 10 } },
    { value: null, outcome: 'unknown_metric', subject: { scope: ['shop'] } },
  ]);
});
