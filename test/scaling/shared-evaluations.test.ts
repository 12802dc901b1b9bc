/** Shared evaluations: who asks the same within an interval is told the very same, though most of it is kept as numbers. */
import { deepStrictEqual } from 'node:assert/strict';
import { test } from 'tap';
import { LIMITS } from '../../src/model/limits.ts';
import type { QueryValue } from '../../src/promql/result.ts';
import type { Cover, SourceCover } from '../../src/scaling/coverage.ts';
import type { Evaluation } from '../../src/scaling/evaluation.ts';
import { SharedEvaluations } from '../../src/scaling/shared-evaluations.ts';
import { TestClock } from '../support/clock.ts';

const TIME_MS = Date.UTC(2026, 0, 1);
const LOOK = { matchers: [], windowMs: 0, offsetMs: 0, atMs: null };

function coverOf(more: Partial<Cover> = {}): Cover {
  const whole = { wholeMs: null, warming: null, ahead: false, mute: null, sources: [] };
  return { look: LOOK, endMs: TIME_MS, series: 3, expected: 4, seen: 2, newestMs: TIME_MS - 500.25, ...whole, ...more };
}

function vectorOf(...values: number[]): QueryValue {
  const labels = values.map((_, i) => ['pod', `web-${i}`]);
  return { kind: 'vector', timeMs: TIME_MS, labels, values: Float64Array.from(values) };
}

interface Parts extends Partial<Evaluation> {
  readonly value?: QueryValue;
  readonly newestMs?: number | null;
  readonly warnings?: readonly string[];
  readonly infos?: readonly string[];
}

function evaluationOf(parts: Parts = {}): Evaluation {
  const { value = vectorOf(7), newestMs = TIME_MS - 500, warnings = [], infos = [], ...more } = parts;
  const result = { value, warnings, infos, read: { series: 3, samples: 5, newestMs } };
  const whole = { before: null, wholeMs: null, fault: null, settling: false };
  return { text: 'sum(depth)', timeMs: TIME_MS, covers: [coverOf()], result, ...whole, ...more };
}

function sharedOf() {
  const clock = new TestClock(TIME_MS);
  const shared = new SharedEvaluations(clock);
  const begun: number[] = [];
  const ask = (asker: string, evaluation: Evaluation | Error, key = 'key') =>
    shared.evaluate(key, asker, async () => {
      begun.push(clock.nowMs());
      if (evaluation instanceof Error) throw evaluation;
      return evaluation;
    });
  return { clock, begun, ask };
}

const SILENT: SourceCover = {
  key: 'web-1',
  state: 'silent',
  series: 1,
  newestMs: TIME_MS - 90_000,
  intervalMs: 15_000,
  staleAfterMs: 35_000,
};

const SHARED: Readonly<Record<string, () => Evaluation>> = {
  'one number': () => evaluationOf(),
  'a number that is no integer': () => evaluationOf({ value: vectorOf(-0.1) }),
  'negative zero': () => evaluationOf({ value: vectorOf(-0) }),
  NaN: () => evaluationOf({ value: vectorOf(Number.NaN) }),
  infinity: () => evaluationOf({ value: vectorOf(Infinity) }),
  'many elements': () => evaluationOf({ value: vectorOf(1, 2, 3) }),
  'a scalar': () => evaluationOf({ value: { kind: 'scalar', timeMs: TIME_MS, value: 4 } }),
  'a warning': () => evaluationOf({ warnings: ['PromQL warning: odd'] }),
  'an info': () => evaluationOf({ infos: ['PromQL info: odd'] }),
  'no newest sample': () =>
    evaluationOf({ newestMs: null, covers: [coverOf({ newestMs: null, expected: 0, seen: 0 })] }),
  'a silent source': () => evaluationOf({ covers: [coverOf({ mute: SILENT, seen: 1 })] }),
  'a source that was whole before': () =>
    evaluationOf({
      covers: [coverOf({ wholeMs: TIME_MS - 60_000, seen: 1 })],
      wholeMs: TIME_MS - 60_000,
      before: evaluationOf({ value: vectorOf(9) }).result,
    }),
  'two selectors': () => evaluationOf({ covers: [coverOf(), coverOf({ series: 4 })] }),
  'no selector': () => evaluationOf({ covers: [] }),
  'a start not long ago': () => evaluationOf({ settling: true }),
};

for (const [name, make] of Object.entries(SHARED)) {
  test(`two askers are told the same: ${name}`, async (t) => {
    const { clock, begun, ask } = sharedOf();
    // Another evaluation stood there before.
    await ask('IsActive', evaluationOf({ value: vectorOf(1), text: 'other', covers: [coverOf({ series: 99 })] }));
    clock.advance(LIMITS.evaluationIntervalMs + 1);
    const first = ask('GetMetrics', make());
    const meanwhile = ask('StreamIsActive', new Error('not evaluated'));
    deepStrictEqual(await first, make());
    deepStrictEqual(await meanwhile, make(), 'while it is under way');
    clock.advance(LIMITS.evaluationIntervalMs);
    deepStrictEqual(await ask('IsActive', new Error('not evaluated')), make(), 'when it is done');
    t.equal(begun.length, 2);
  });
}

test('nobody is told the same twice, and nothing is told for longer than the interval', async (t) => {
  const { clock, begun, ask } = sharedOf();
  const told = async (asker: string, value: number) => {
    const { result } = await ask(asker, evaluationOf({ value: vectorOf(value) }));
    return result?.value.kind === 'vector' ? result.value.values[0] : null;
  };
  t.equal(await told('GetMetrics', 1), 1);
  t.equal(await told('IsActive', 2), 1);
  t.equal(await told('IsActive', 3), 3, 'a second time');
  t.equal(await told('GetMetrics', 4), 3);
  t.equal(await told('GetMetrics', 5), 5);
  t.equal(await told('GetMetrics', 6), 6, 'who began it was told as well');
  clock.advance(LIMITS.evaluationIntervalMs + 1);
  t.equal(await told('IsActive', 7), 7, 'too old');
  t.equal(begun.length, 5);
});

const UNSHARED: Readonly<Record<string, Evaluation | Error>> = {
  'a failure': new Error('broken'),
  'a fault': evaluationOf({ result: null, fault: { code: 'query_timeout', reason: 'late' } }),
  'an empty result': evaluationOf({ value: vectorOf() }),
  'more elements than are kept': evaluationOf({ value: vectorOf(...Array(LIMITS.sharedElementsMax + 1).keys()) }),
  'a window that is not covered': evaluationOf({ covers: [coverOf({ warming: 0.5 })] }),
  'samples ahead of the clock': evaluationOf({ covers: [coverOf({ ahead: true })] }),
  'sources that are all silent': evaluationOf({ covers: [coverOf({ seen: 0 })] }),
};

for (const [name, evaluation] of Object.entries(UNSHARED)) {
  test(`it is evaluated anew after ${name}`, async (t) => {
    const { begun, ask } = sharedOf();
    await ask('GetMetrics', evaluation).catch((error) => t.equal(error, evaluation));
    await new Promise((resolve) => setImmediate(resolve));
    deepStrictEqual(await ask('IsActive', evaluationOf()), evaluationOf());
    t.equal(begun.length, 2);
  });
}
