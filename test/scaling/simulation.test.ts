/**
 * Faults against replicas: each world is run with its faults and without them. Whatever goes wrong, the autoscaler may not
 * scale down where it would not have without the faults, and in the end it must be where it would have been.
 *
 * TIDEGAUGE_SIM_SEED names one seed to replay or a span of them (0-599), TIDEGAUGE_SIM_RUNS how many seeds to draw.
 */
import { test } from 'tap';
import { DEFAULT_POLICY } from '../../src/scaling/policy.ts';
import { ScalingStack } from '../support/scaling-stack.ts';
import { SimulatedAutoscaler, SYNC_MS } from '../support/simulated-autoscalers.ts';
import { drawWorld, RUN_MS, replicasFor, run, type World } from '../support/simulated-cluster.ts';

/** HPA's tolerance of 10 %, and one replica for what each run rounds by itself. */
const TOLERANCE = 0.1;
const ROUNDING = 1;
/** How far back the run without faults may have wanted as little: a window, a hold and a stabilisation. */
const MEMORY_SYNCS = (12 * 60_000) / SYNC_MS;

const replayed = process.env.TIDEGAUGE_SIM_SEED;
const runs = Number(process.env.TIDEGAUGE_SIM_RUNS ?? 30);
/** Some seeds are always the same, the others new each time. */
const base = Date.now() % 1_000_000;
const seeds =
  replayed === undefined ? Array.from({ length: runs }, (_, i) => (i % 2 === 0 ? i : base + i)) : spanOf(replayed);

function spanOf(text: string): number[] {
  const [first = 0, last = first] = text.split('-').map(Number);
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

test('no fault scales down what would not have been scaled down, and real scale-downs finish', async (t) => {
  for (const seed of seeds) {
    const world = drawWorld(seed);
    const complaint = await complaintOf(world);
    t.equal(complaint, null, `seed ${seed} (replay with TIDEGAUGE_SIM_SEED=${seed}): ${describe(world)}`);
  }
});

/**
 * An autoscaler of `sum(work)`, target 20, and a daemon that has just heard its first sender. Replicas after each tick of
 * 5 s; `pushes` says whether the trigger is of type external-push.
 */
async function begin(replicas: number, pushes: boolean, ticks: number): Promise<number[]> {
  const stack = new ScalingStack({ uptimeMs: 0 });
  const autoscaler = new SimulatedAutoscaler(
    {
      query: 'sum(work)',
      policy: DEFAULT_POLICY,
      target: 20,
      minReplicas: 0,
      maxReplicas: 40,
      behavior: { scaleDown: { stabilizationWindowSeconds: 0 } },
      fallbackReplicas: null,
    },
    replicas,
  );
  const seen: number[] = [];
  for (let tick = 0; tick < ticks; tick++) {
    const nowMs = stack.clock.nowMs();
    // Once a minute, as the slowest senders do.
    if (tick % 12 === 0) stack.put({ __name__: 'work', instance: 'queue:80' }, 50);
    if (pushes) await autoscaler.push(stack.readings, nowMs);
    if (tick % 6 === 0) await autoscaler.poll(stack.readings, nowMs);
    if (tick % 3 === 0) await autoscaler.sync(stack.readings, nowMs);
    seen.push(autoscaler.replicas);
    stack.clock.advance(5000);
  }
  return seen;
}

test('from zero, what came so far is work enough for a push; replicas wait until all have been heard', async (t) => {
  const polled = await begin(0, false, 20);
  t.strictSame(polled.slice(0, 11), Array(11).fill(0), 'a poll needs a value');
  t.equal(polled.at(-1), 3);
  const pushed = await begin(0, true, 20);
  t.strictSame(pushed.slice(0, 9), Array(9).fill(1), 'at once, and no further on the word of one sender');
  t.equal(pushed.at(-1), 3);
  const running = await begin(10, true, 9);
  t.strictSame(running, Array(9).fill(10), 'who runs already is not scaled by it');
});

async function complaintOf(world: World): Promise<string | null> {
  const { replicas: calm } = await run(world, false);
  const { replicas: rough } = await run(world, true);
  for (let i = 1; i < rough.length; i++) {
    if (rough[i]! >= rough[i - 1]!) continue;
    const from = Math.max(0, i - MEMORY_SYNCS);
    // What the load itself asks for is never too little, even if the run without faults is still slow to see it.
    const asked = Array.from({ length: i + 1 - from }, (_, k) => replicasFor(world, (from + k) * SYNC_MS));
    const least = Math.min(...calm.slice(from, i + 1), ...asked);
    const floor = Math.floor(least * (1 - TOLERANCE)) - ROUNDING;
    if (rough[i]! < floor) {
      return `at ${(i * SYNC_MS) / 1000} s: ${rough[i - 1]} → ${rough[i]}, without faults at least ${least}`;
    }
  }
  const last = rough.at(-1)!;
  const enough = Math.max(calm.at(-1)!, replicasFor(world, RUN_MS - 1));
  const most = Math.ceil(enough * (1 + TOLERANCE)) + ROUNDING;
  return last > most ? `in the end ${last}, without faults ${calm.at(-1)}` : null;
}

function describe({ query, stabilizationSeconds, endsCleanly, faults }: World): string {
  const list = faults.map(
    ({ kind, fromMs, toMs, amount }) => `${kind} ${fromMs / 1000}-${toMs / 1000} s (${amount.toFixed(2)})`,
  );
  return `${query}, waits ${stabilizationSeconds} s, ${endsCleanly ? 'clean' : 'silent'} ends, ${list.join(', ')}`;
}
