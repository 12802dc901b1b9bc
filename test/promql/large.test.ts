/**
 * Large selections: what the store adds up by itself, and groupings that are kept from one query to the next. Each answer is
 * that of the plain model, whose rows are added up one by one, bit for bit.
 */
import { test } from 'tap';
import { labelsFromObject } from '../../src/model/labels.ts';
import { float64High, float64Low, STALE_NAN_HIGH, STALE_NAN_LOW } from '../../src/model/sample.ts';
import { QueryEngine } from '../../src/promql/engine.ts';
import { Registry } from '../../src/telemetry/registry.ts';
import { KernelHead } from '../../src/tsdb/kernel-head.ts';
import { TestClock } from '../support/clock.ts';
import { PlainHead } from '../support/plain-head.ts';

const T0 = 1_700_000_000_000;
const HOUR_MS = 3_600_000;
const SERIES = 5000;
const NASTY = [Number.NaN, Infinity, -Infinity, -0, 1e308, -1e308, 5e-324];

function stores() {
  const clock = new TestClock(T0);
  const common = { clock, retentionMs: HOUR_MS, outOfOrderMsMax: 300_000, futureMsMax: 600_000, seriesMax: 20_000 };
  const kernel = new KernelHead({ ...common, memoryBytes: 64 * 2 ** 20, bodyBytesMax: 2 ** 18 });
  const plain = new PlainHead(common);
  const engines = [kernel, plain].map(
    (head) => new QueryEngine({ head, clock, registry: new Registry(), lookbackMs: 300_000 }),
  );
  /** Samples of all series, a minute apart; what pods are of which group changes with `salt`. */
  const fill = (name: string, salt: number, fromMs: number, minutes: number): void => {
    for (const head of [kernel, plain]) {
      for (let pod = 0; pod < SERIES; pod++) {
        const group = `g${(pod * 7 + salt) % 5}`;
        const ref = head.series(labelsFromObject({ __name__: name, pod: `${salt}-${pod}`, group }));
        let value = pod % 3;
        for (let i = 0; i < minutes; i++) {
          value = (i + pod) % 11 === 0 ? 0.25 : value + ((i * pod) % 9) * 0.1;
          // Of one group of one metric only: what is added to an infinity tells nothing.
          const isOdd = name === 'load' && group === 'g4' && (i * 7 + pod * 3) % 97 === 0;
          const shown = isOdd ? NASTY[pod % NASTY.length]! : value;
          const timeMs = fromMs + i * 60_000 + (pod % 4) * 500;
          if ((i + pod) % 83 === 0) head.append(ref, timeMs, STALE_NAN_LOW, STALE_NAN_HIGH);
          else head.append(ref, timeMs, float64Low(shown), float64High(shown));
        }
      }
    }
  };
  /** What both engines say, one after the other. */
  const ask = (text: string, range: { startMs: number; endMs: number; stepMs: number } | null) =>
    Promise.all(
      engines.map(async (engine) => {
        const query = { text, scope: null };
        const result =
          range === null
            ? await engine.instant({ ...query, timeMs: clock.nowMs() })
            : await engine.range({ ...query, ...range });
        const { value, infos, read } = result;
        if (value.kind !== 'vector' && value.kind !== 'matrix') throw new Error(`got ${value.kind}`);
        const series =
          value.kind === 'vector'
            ? value.labels.map((labels, i) => ({ labels, timesMs: [timeOf(value)], values: [value.values[i]!] }))
            : value.series.map(({ labels, timesMs, values }) => ({
                labels,
                timesMs: [...timesMs],
                values: [...values],
              }));
        series.sort((a, b) => (a.labels.join() < b.labels.join() ? -1 : 1));
        return { series, infos, samples: read.samples, newestMs: read.newestMs };
      }),
    );
  return { clock, kernel, plain, fill, ask };
}

const timeOf = ({ timeMs }: { readonly timeMs: number }): number => timeMs;

/** Objects alike down to the sign of a zero. */
function isSame(a: unknown, b: unknown): boolean {
  if (typeof a !== 'object' || a === null || typeof b !== 'object' || b === null) return Object.is(a, b);
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => isSame(a[key as keyof typeof a], b[key as keyof typeof b]))
  );
}

test('sums of many series are those of rows that are added up one by one', async (t) => {
  const { clock, fill, ask } = stores();
  fill('requests_total', 0, T0 - 20 * 60_000, 20);
  fill('load', 1, T0 - 3 * 60_000, 3);
  clock.set(T0);
  const range = { startMs: T0 - 15 * 60_000, endMs: T0, stepMs: 90_000 };
  const f = async (text: string, at: typeof range | null) => {
    const [got, want] = await ask(text, at);
    t.ok(got!.series.length > 0, text);
    t.ok(isSame(got, want), `${text}${at === null ? '' : ' over a range'}`);
  };
  for (const at of [null, range]) {
    for (const what of ['rate(requests_total[5m])', 'increase(requests_total[3m])', 'delta(requests_total[2m30s])']) {
      await f(`sum(${what})`, at);
      await f(`sum by (group) (${what})`, at);
      await f(`sum without (pod) (${what})`, at);
    }
    await f('sum(rate(load[3m]))', at);
    await f('sum(rate({__name__=~"load|requests_total"}[3m]))', at);
    await f('sum(requests_total)', at);
    await f('sum by (group) (load)', at);
    await f('sum(load > 1)', at);
    await f('sum(load{group!="g4"})', at);
  }
});

test('a grouping is kept while the series are the same, and no longer', async (t) => {
  const { clock, kernel, plain, fill, ask } = stores();
  fill('load', 0, T0 - 5 * 60_000, 5);
  clock.set(T0);
  const f = async (what: string) => {
    for (const text of [
      'sum by (group) (load)',
      'sum by (group) (rate(load[4m]))',
      'sum by (__name__, group) (load)',
    ]) {
      const [got, want] = await ask(text, null);
      t.equal(got!.series.length, 5, text);
      t.ok(isSame(got!.series, want!.series), `${text}: ${what}`);
    }
  };
  const identity = () => {
    const selection = kernel.select({ matchers: [], fromMs: T0 - HOUR_MS, toMs: T0 + 4 * HOUR_MS, scope: null });
    const own = selection.identity();
    selection.close();
    return own;
  };
  await f('for the first time');
  const first = identity();
  t.not(first, null);
  await f('once more');
  t.equal(identity(), first);
  // All go, and others take their ids.
  clock.set(T0 + 2 * HOUR_MS);
  fill('load', 3, T0 + 2 * HOUR_MS - 5 * 60_000, 5);
  kernel.enforceRetention();
  plain.enforceRetention();
  kernel.enforceRetention();
  t.equal(kernel.stats().series, SERIES);
  await f('of others');
  clock.set(T0 + 4 * HOUR_MS);
  kernel.enforceRetention();
  kernel.enforceRetention();
  plain.enforceRetention();
  fill('load', 2, T0 + 4 * HOUR_MS - 5 * 60_000, 5);
  t.not(identity(), first);
  await f('under ids that were used before');
});
