/**
 * Faults against replicas: each world is run with its faults and without them. Whatever goes wrong, the autoscaler may not
 * scale down where it would not have without the faults, and in the end it must be where it would have been.
 *
 * TIDEGAUGE_SIM_SEED names one seed to replay, TIDEGAUGE_SIM_RUNS how many seeds to draw.
 */
import { test } from 'tap';
import { SYNC_MS } from '../support/simulated-autoscalers.ts';
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
  replayed === undefined ? Array.from({ length: runs }, (_, i) => (i % 2 === 0 ? i : base + i)) : [Number(replayed)];

test('no fault scales down what would not have been scaled down, and real scale-downs finish', async (t) => {
  for (const seed of seeds) {
    const world = drawWorld(seed);
    const complaint = await complaintOf(world);
    t.equal(complaint, null, `seed ${seed} (replay with TIDEGAUGE_SIM_SEED=${seed}): ${describe(world)}`);
  }
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
