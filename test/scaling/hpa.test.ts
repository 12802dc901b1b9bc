/** HPA's arithmetic against the vectors of the folder that TIDEGAUGE_CONFORMANCE names, and some of our own always. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { combine, type HpaMetric, type HpaPod, isInside, MINOR_NEWEST, propose } from '../../src/scaling/hpa.ts';
import { type Behavior, clampLegacy, HpaController, limitRate } from '../../src/scaling/hpa-controller.ts';
import { parseQuantity } from '../../src/scaling/quantity.ts';

const milli = (text: string): bigint => parseQuantity(text) / 1_000_000n;

test('one value of an external metric becomes replicas', async (t) => {
  const f = (value: string, statusReplicas: number, want: number) => {
    const metric: HpaMetric = {
      type: 'External',
      target: { averageValueMilli: milli('10') },
      valuesMilli: [milli(value)],
    };
    t.match(propose(metric, { specReplicas: statusReplicas, statusReplicas }), { replicas: want }, value);
  };
  f('70', 3, 7);
  f('31', 3, 3);
  f('33', 3, 3);
  f('33001m', 3, 4);
  f('0', 3, 0);
  t.equal(isInside(1.1, { up: 0.1, down: 0.1 }, 33), true);
  t.equal(isInside(1.1, { up: 0.1, down: 0.1 }, 32), false);
  t.equal(combine([5, null], 3), 5, 'a metric that fails does not keep another from scaling up');
  t.equal(combine([2, null], 3), null, 'but from scaling down');
  t.equal(combine([null], 3), null);
});

test('a controller waits five minutes before it scales down, and doubles at most', async (t) => {
  const hpa = new HpaController({ minReplicas: 1, maxReplicas: 100, behavior: null });
  const f = (seconds: number, replicas: number, proposal: number | null, want: number) =>
    t.equal(hpa.reconcile(seconds * 1000, replicas, () => proposal).replicas, want, `${seconds} s`);
  f(0, 10, 10, 10);
  f(15, 10, 3, 10);
  f(30, 10, null, 10);
  f(300, 10, 3, 10);
  f(316, 10, 3, 3);
  f(331, 3, 60, 6);
});

interface Vector {
  readonly id: string;
  readonly k8s: string;
  // biome-ignore lint/suspicious/noExplicitAny: the vectors' shapes are as many as their groups
  readonly input: any;
  // biome-ignore lint/suspicious/noExplicitAny: the same
  readonly expect: any;
}

const folder = process.env.TIDEGAUGE_CONFORMANCE;
const skip = folder === undefined ? 'TIDEGAUGE_CONFORMANCE names no folder' : false;
const vectors: Readonly<Record<string, readonly Vector[]>> =
  folder === undefined ? {} : JSON.parse(readFileSync(join(folder, 'kubernetes', 'hpa-vectors.json'), 'utf8'));

/** Minors for which a vector holds, of those that differ in something. */
function minorsOf(k8s: string): number[] {
  const all = [20, 21, 25, 26, 32, 33, 34, 35, 36, MINOR_NEWEST];
  const number = (text: string): number => Number(text.trim().split('.')[1]);
  if (k8s === '*') return [20, MINOR_NEWEST];
  if (k8s.startsWith('>=')) return all.filter((minor) => minor >= number(k8s.slice(2)));
  if (k8s.startsWith('<')) return all.filter((minor) => minor < number(k8s.slice(1)));
  const [from, to = from] = k8s.split('-') as [string, string?];
  return all.filter((minor) => minor >= number(from) && minor <= number(to!));
}

function podOf(pod: Readonly<Record<string, unknown>>): HpaPod {
  const seconds = (key: string): number | null => (typeof pod[key] === 'number' ? (pod[key] as number) * 1000 : null);
  return {
    name: pod.name as string,
    phase: (pod.phase ?? 'Running') as HpaPod['phase'],
    isReady: (pod.ready ?? true) as boolean,
    isDeleting: (pod.deleting ?? false) as boolean,
    valueMilli: typeof pod.value === 'string' ? milli(pod.value) : null,
    requestMilli: typeof pod.request === 'string' ? milli(pod.request) : null,
    startedAgoMs: seconds('startedAgo'),
    transitionAgoMs: seconds('transitionAgo'),
    sampleAgoMs: seconds('metricAgo') ?? 0,
    sampleWindowMs: seconds('window') ?? 0,
  };
}

function metricOf({ input }: Vector): HpaMetric {
  const { value, averageValue, averageUtilization } = input.target;
  return {
    type: input.type,
    ...(input.name === undefined ? {} : { name: input.name }),
    target: {
      ...(value === undefined ? {} : { valueMilli: milli(value) }),
      ...(averageValue === undefined ? {} : { averageValueMilli: milli(averageValue) }),
      ...(averageUtilization === undefined ? {} : { averageUtilization }),
    },
    valuesMilli: (input.values ?? []).map(milli),
    foreignMilli: Object.values((input.extraMetrics ?? {}) as Record<string, string>).map(milli),
    pods: (input.pods ?? []).map(podOf),
  };
}

test('vectors: one metric', { skip }, async (t) => {
  for (const vector of vectors.replicas!) {
    for (const minor of minorsOf(vector.k8s)) {
      const { specReplicas, statusReplicas = specReplicas, tolerance } = vector.input;
      const scale = { specReplicas, statusReplicas, minor, ...(tolerance === undefined ? {} : { tolerance }) };
      const got = propose(metricOf(vector), scale);
      const { replicas, error, status } = vector.expect;
      if (error === undefined) t.match(got, { kind: 'replicas', replicas }, `${vector.id} on 1.${minor}`);
      else t.match(got, { kind: 'error', message: error }, `${vector.id} on 1.${minor}`);
      if (status !== undefined) t.match(got, { averageValueMilli: milli(status.averageValue) }, vector.id);
    }
  }
});

test('vectors: several metrics', { skip }, async (t) => {
  for (const { id, k8s, input, expect } of vectors.combine!) {
    const proposals = input.proposals.map((one: number | 'error') => (one === 'error' ? null : one));
    for (const minor of minorsOf(k8s))
      t.equal(
        combine(proposals, input.specReplicas, minor),
        expect.hold ? null : expect.replicas,
        `${id} on 1.${minor}`,
      );
  }
});

test('vectors: limits', { skip }, async (t) => {
  for (const { id, input, expect } of vectors.legacyClamp!) {
    const { currentReplicas, desiredReplicas, minReplicas, maxReplicas } = input;
    t.strictSame(clampLegacy(currentReplicas, desiredReplicas, minReplicas, maxReplicas), expect, id);
  }
  for (const { id, k8s, input, expect } of vectors.behaviorRate!) {
    const { currentReplicas, desiredReplicas, minReplicas, maxReplicas, upEvents = [], downEvents = [] } = input;
    const behavior = input.behavior as Behavior;
    const events = { ups: upEvents, downs: downEvents };
    for (const minor of minorsOf(k8s)) {
      const got = limitRate(currentReplicas, desiredReplicas, minReplicas, maxReplicas, behavior, events, minor);
      t.strictSame(got, expect, `${id} on 1.${minor}`);
    }
  }
});

test('vectors: over time', { skip }, async (t) => {
  for (const { id, k8s, input, expect } of vectors.timeline!) {
    for (const minor of minorsOf(k8s)) {
      const { minReplicas, maxReplicas, behavior, downscaleStabilizationSeconds: seconds } = input;
      const downscaleStabilizationMs = (seconds ?? 300) * 1000;
      const hpa = new HpaController({ minReplicas, maxReplicas, behavior, minor, downscaleStabilizationMs });
      let replicas: number = input.initialReplicas;
      for (const [i, step] of input.steps.entries()) {
        const done = hpa.reconcile(step.t * 1000, step.setReplicas ?? replicas, () => step.proposal);
        replicas = done.replicas;
        const { t: at, ableToScale, ...want } = expect[i];
        t.match(
          done,
          ableToScale === undefined ? want : { ...want, able: ableToScale },
          `${id} at ${at} s on 1.${minor}`,
        );
      }
    }
  }
});

test('vectors: gates', { skip }, async (t) => {
  for (const { id, k8s, input, expect } of vectors.gate!) {
    const minors = minorsOf(k8s).filter((minor) => k8s !== '*' || minor === MINOR_NEWEST);
    for (const minor of minors) {
      const { specReplicas, minReplicas, maxReplicas, proposal, metricTypes, scaledToZero, behavior = null } = input;
      const hpa = new HpaController({ minReplicas, maxReplicas, behavior, metricTypes, minor });
      const done = hpa.reconcile(400_000, specReplicas, () => proposal ?? null, { scaledToZero });
      t.equal(done.computesMetrics, expect.metricsComputed, id);
      if (expect.replicas !== undefined) t.equal(done.replicas, expect.replicas, `${id} on 1.${minor}`);
      t.equal(done.isDisabled, expect.condition?.reason === 'ScalingDisabled', id);
    }
  }
});
