/**
 * Expressions of autoscalers leave nothing on V8's old heap: what does waits there for a full collection, for which every
 * question waits, too. See ARCHITECTURE.md, "What is made thousands of times a second must die young".
 */
import v8 from 'node:v8';
import vm from 'node:vm';
import { test } from 'tap';
import { labelsFromObject } from '../../src/model/labels.ts';
import { LIMITS } from '../../src/model/limits.ts';
import { float64High, float64Low } from '../../src/model/sample.ts';
import { QueryEngine } from '../../src/promql/engine.ts';
import { Registry } from '../../src/telemetry/registry.ts';
import { KernelHead } from '../../src/tsdb/kernel-head.ts';
import { TestClock } from '../support/clock.ts';

v8.setFlagsFromString('--expose-gc');
const collectGarbage = vm.runInNewContext('gc') as () => void;

const START_MS = Date.UTC(2026, 0, 1);
const INTERVAL_MS = 15_000;
const SAMPLES = 20;
/** A generator function of an object costs 600 bytes, a spread with more behind it 700; measuring coverage, as tap does, some 300. */
const BYTES_MAX = 600;
const CALLS = 800;

/** One for each operator and function that has a way of its own through promql/eval. */
const TEXTS = `
g; sum(g); sum by (q) (g); sum without (q) (g); avg(g); max(g); stddev(g); count(g > 1); quantile(0.9, g)
topk(1, g); limitk(2, g); limit_ratio(0.5, g); count_values("v", g); absent(g); absent_over_time(g[2m])
rate(c_total[2m]); sum(rate(c_total[2m])); max_over_time(g[2m]); quantile_over_time(0.5, g[2m]); predict_linear(g[2m], 60)
avg_over_time(g[3m:1m]); max_over_time(rate(c_total[1m])[3m:1m]); rate(c_total[2m] smoothed); rate(c_total[2m] anchored)
avg_over_time((g + vector(1))[3m:1m]); g smoothed; g @ end(); g offset 1m; g[2m]; sum(g offset 1m)
g / 2; 2 * g; g > bool 2; -g; g / g; g * on (i) group_left (version) i_info; sum(g) / sum(g); sum(g) / sum(c_total)
sum(g) or vector(0); g and c_total; g unless c_total; sum by (q) (rate(c_total[2m])) / sum by (q) (g)
abs(g); clamp_min(g, 1); clamp(g, 1, 5); round(g); timestamp(g); hour(); day_of_week(g)
sort(g); sort_desc(g); sort_by_label(g, "q"); label_replace(g, "a", "$1", "q", "(.*)"); label_join(g, "a", "-", "q", "i")
scalar(sum(g)); vector(1); vector(time()); -scalar(sum(g)); max_of(1, scalar(sum(g))); 1 + 2; info(g)
histogram_quantile(0.9, sum by (le) (rate(h_bucket[2m]))); histogram_fraction(0, 1, h_bucket)
histogram_quantiles(h_bucket, "quantile", 0.5, 0.9); nothing; sum(nothing)`
  .split(/[;\n]/)
  .map((text) => text.trim())
  .filter((text) => text !== '');

test('questions leave nothing on the old heap', async (t) => {
  const engine = openEngine();
  for (const text of TEXTS) {
    const bytes = await oldBytesACall(engine, text);
    t.ok(bytes <= BYTES_MAX, `${text}: ${Math.round(bytes)} bytes a call, want at most ${BYTES_MAX}`);
  }
});

/** The least of a few runs. */
async function oldBytesACall(engine: QueryEngine, text: string): Promise<number> {
  const timeMs = START_MS + (SAMPLES - 1) * INTERVAL_MS;
  const ask = () => engine.instant({ text, timeMs, scope: null, surface: 'scaling' });
  let least = Infinity;
  for (let run = 0; run < 4 && least > BYTES_MAX; run++) {
    // More each time, since what is compiled meanwhile does not grow with them.
    const calls = CALLS << run;
    for (let i = 0; i < calls / 2; i++) await ask();
    collectGarbage();
    const before = oldBytes();
    for (let i = 0; i < calls; i++) await ask();
    const grown = oldBytes() - before;
    // What shrinks was collected meanwhile, and says nothing.
    if (grown >= 0) least = Math.min(least, grown / calls);
  }
  return least;
}

function oldBytes(): number {
  return v8.getHeapSpaceStatistics().find(({ space_name }) => space_name === 'old_space')!.space_used_size;
}

function openEngine(): QueryEngine {
  const clock = new TestClock(START_MS + SAMPLES * INTERVAL_MS);
  const { outOfOrderMsMax, futureMsMax } = LIMITS;
  const head = new KernelHead({ clock, retentionMs: 3_600_000, outOfOrderMsMax, futureMsMax, seriesMax: 1000 });
  for (let i = 0; i < 20; i++) {
    const own = { i: `${i}`, instance: `i${i}`, job: 'j', q: `q${i % 3}` };
    for (const more of [
      { __name__: 'g' },
      { __name__: 'c_total' },
      { __name__: 'i_info', version: 'a' },
      { __name__: 'h_bucket', le: '1' },
      { __name__: 'h_bucket', le: '+Inf' },
    ]) {
      const ref = head.series(labelsFromObject({ ...own, ...more }));
      for (let k = 0; k < SAMPLES; k++)
        head.append(ref, START_MS + k * INTERVAL_MS, float64Low(i + k), float64High(i + k));
    }
  }
  const experimental = { experimentalFunctions: true, extendedRangeSelectors: true };
  return new QueryEngine({ head, clock, registry: new Registry(), lookbackMs: 300_000, experimental });
}
