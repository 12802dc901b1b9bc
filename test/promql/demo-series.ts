/** The `demo_*` series that the compliance queries ask for: gauges, counters with resets, a histogram, gaps. Seeded. */
import type { SampleToEncode, SeriesToEncode } from '../support/remote-write-encoder.ts';

const INTERVAL_MS = 15_000;
const INSTANCES = ['demo.promlabs.com:10000', 'demo.promlabs.com:10001', 'demo.promlabs.com:10002'];
const BOUNDS = ['0.0001', '0.00015', '0.0005', '0.001', '0.01', '0.1', '1', '+Inf'];

interface DemoSeries {
  readonly labels: Record<string, string>;
  readonly samples: readonly SampleToEncode[];
}

/** Requests of some minutes each, in order of time: all series of one span, then those of the next. */
export function demoRequests(fromMs: number, toMs: number, spanMs: number, seed: number): SeriesToEncode[][] {
  const all = demoSeries(fromMs, toMs, randomOf(seed));
  const requests: SeriesToEncode[][] = [];
  for (let start = fromMs; start < toMs; start += spanMs) {
    const within = ({ timestampMs }: SampleToEncode): boolean => timestampMs >= start && timestampMs < start + spanMs;
    const parts = all.map(({ labels, samples }) => ({ labels, samples: samples.filter(within) }));
    requests.push(parts.filter(({ samples }) => samples.length > 0));
  }
  return requests;
}

function demoSeries(fromMs: number, toMs: number, random: () => number): DemoSeries[] {
  const series: DemoSeries[] = [];
  for (const [i, instance] of INSTANCES.entries()) {
    const times: number[] = [];
    for (let at = fromMs + 1217 + i * 3391; at < toMs; at += INTERVAL_MS) times.push(at + Math.floor(random() * 40));
    const add = (name: string, more: Record<string, string>, value: (k: number) => number | 'stale' | null): void => {
      const samples: SampleToEncode[] = [];
      for (const [k, timestampMs] of times.entries()) {
        const own = value(k);
        if (own !== null) samples.push({ timestampMs, value: own });
      }
      const labels = Object.entries({ __name__: name, instance, job: 'demo', ...more }).sort();
      series.push({ labels: Object.fromEntries(labels), samples });
    };
    addGauges(add, i, random);
    addCounters(add, random);
  }
  return series;
}

type Add = (name: string, more: Record<string, string>, value: (k: number) => number | 'stale' | null) => void;

function addGauges(add: Add, i: number, random: () => number): void {
  for (const type of ['buffers', 'cached', 'free', 'used'])
    add('demo_memory_usage_bytes', { type }, (k) => Math.round(1e9 * (1 + Math.sin(k / 20 + i) + random())));
  add('demo_disk_usage_bytes', {}, (k) => 4e10 + 1e6 * k + Math.round(1e6 * random()));
  add('demo_num_cpus', {}, () => 4);
  add('demo_batch_last_success_timestamp_seconds', {}, (k) => 1.7e9 + 300 * Math.floor(k / 20) + 0.25);
  // Five minutes there, five minutes gone, with a stale marker where it goes.
  add('demo_intermittent_metric', {}, (k) => (k % 40 < 20 ? k + i : k % 40 === 20 ? 'stale' : null));
}

function addCounters(add: Add, random: () => number): void {
  for (const mode of ['idle', 'system', 'user']) {
    let total = 1000;
    add('demo_cpu_usage_seconds_total', { mode }, (k) => {
      total = k % 173 === 172 ? random() : total + 15 * random();
      return total;
    });
  }
  for (const method of ['GET', 'POST']) {
    for (const status of ['200', '500']) {
      const more = { method, path: '/api/v1', status };
      const counts = BOUNDS.map(() => 0);
      let sum = 0;
      for (const [b, le] of BOUNDS.entries()) {
        add('demo_api_request_duration_seconds_bucket', { ...more, le }, () => {
          counts[b]! += Math.floor((b + 1) * (1 + 2 * random()));
          return counts[b]!;
        });
      }
      add('demo_api_request_duration_seconds_count', more, (k) => 30 * k);
      add('demo_api_request_duration_seconds_sum', more, () => {
        sum += random();
        return sum;
      });
    }
  }
}

/** Numerical Recipes' generator: the same numbers for the same seed, everywhere. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
