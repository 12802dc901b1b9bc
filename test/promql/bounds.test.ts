/** The bounds of a query: each is refused with an error of its own, and each can be set. */
import { test } from 'tap';
import { CodedError } from '../../src/model/errors.ts';
import { labelsFromObject } from '../../src/model/labels.ts';
import { float64High, float64Low } from '../../src/model/sample.ts';
import { type EngineOptions, QueryEngine } from '../../src/promql/engine.ts';
import { Registry } from '../../src/telemetry/registry.ts';
import { KernelHead } from '../../src/tsdb/kernel-head.ts';

const T0 = 1_700_000_040_000;

function engineWith(limits: EngineOptions['limits'], registry = new Registry(), tickMs = 0): QueryEngine {
  let monotonicMs = 0;
  const clock = {
    nowMs: () => T0,
    monotonicMs: () => {
      monotonicMs += tickMs;
      return monotonicMs;
    },
  };
  const head = new KernelHead({
    clock,
    retentionMs: 1e15,
    outOfOrderMsMax: 1e15,
    futureMsMax: 1e15,
    seriesMax: 1e4,
    bodyBytesMax: 2 ** 20,
    memoryBytes: 64 * 2 ** 20,
  });
  for (let i = 0; i < 100; i++) {
    const ref = head.series(labelsFromObject({ __name__: 'x', i: String(i).padStart(4, '0') }));
    for (let k = 0; k < 10; k++) head.append(ref, T0 + k * 1000, float64Low(k), float64High(k));
  }
  return new QueryEngine({ head, clock, registry, lookbackMs: 300_000, ...(limits === undefined ? {} : { limits }) });
}

async function outcome(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'answered';
  } catch (error) {
    if (error instanceof CodedError) return `${error.code}: ${error.message}`;
    throw error;
  }
}

test('each bound has its error, and what is just within it is answered', async (t) => {
  const f = async (limits: EngineOptions['limits'], text: string, want: string, tickMs = 0) => {
    const registry = new Registry();
    const engine = engineWith(limits, registry, tickMs);
    t.equal(await outcome(engine.instant({ text, timeMs: T0 + 9000, scope: null })), want, text);
    const code = want.split(':')[0]!;
    const counted = want === 'answered' ? '' : `tidegauge_promql_query_failures_total{code="${code}"} 1\n`;
    t.equal(registry.expose().match(/^tidegauge_promql_query_failures_total.*\n/m)?.[0] ?? '', counted, text);
  };
  await f({ textBytesMax: 64 }, `x${' '.repeat(63)}`, 'answered');
  await f({ textBytesMax: 64 }, `x${' '.repeat(64)}`, 'bad_data: cannot parse query: got 65 bytes, want at most 64');
  await f({ textBytesMax: 64 }, `"${'é'.repeat(31)}"`, 'answered');
  await f({ textBytesMax: 64 }, `"${'é'.repeat(32)}"`, 'bad_data: cannot parse query: got 66 bytes, want at most 64');
  await f({ depthMax: 3 }, '((x))', 'answered');
  t.match(
    await outcome(engineWith({ depthMax: 3 }).instant({ text: '((((((x))))))', timeMs: T0, scope: null })),
    /^bad_data: .*nested/,
  );
  const tooMany = 'query_too_large: query processing would load too many samples into memory in query execution';
  await f({ samplesMax: 1001 }, 'sum(sum_over_time(x[1m]))', 'answered');
  await f({ samplesMax: 999 }, 'sum(sum_over_time(x[1m]))', tooMany);
  // Series of `x` weigh 16 bytes of a point and 14 of labels.
  await f({ resultBytesMax: 3000 }, 'x', 'answered');
  await f({ resultBytesMax: 2999 }, 'x', 'query_too_large: query result would be larger than 2999 bytes');
  await f({ resultBytesMax: 2999 }, 'x[5s]', 'query_too_large: query result would be larger than 2999 bytes');
  await f({ timeoutMs: 1 }, 'x', 'query_timeout: query timed out in expression evaluation', 2);
});

test('a range query has at most so many points a series, and so many bytes of result', async (t) => {
  const f = async (limits: EngineOptions['limits'], points: number, want: string) => {
    const range = { startMs: T0, endMs: T0 + points * 10, stepMs: 10, scope: null };
    t.equal(await outcome(engineWith(limits).range({ text: 'x{i="0001"}', ...range })), want, `${points} points`);
  };
  await f({}, 11_000, 'answered');
  const text = 'points per timeseries. Try decreasing the query resolution (?step=XX)';
  await f({}, 11_001, `bad_data: exceeded maximum resolution of 11,000 ${text}`);
  await f({ pointsMax: 5 }, 5, 'answered');
  await f({ pointsMax: 5 }, 6, `bad_data: exceeded maximum resolution of 5 ${text}`);
  await f({ resultBytesMax: 1000 }, 99, 'query_too_large: query result would be larger than 1000 bytes');
});
