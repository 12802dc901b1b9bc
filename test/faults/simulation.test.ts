/**
 * Ingest, log, images, queries and autoscalers together, under a network and a disk that fail: no replica is taken away that
 * would not have been without the troubles, in the end there are as many as the load asks for, and what was acknowledged is
 * there to the bit.
 *
 * TIDEGAUGE_SIM_SEED names one seed to replay or a span of them (0-99), TIDEGAUGE_SIM_RUNS how many are drawn.
 */
import { test } from 'tap';
import { SYNC_MS } from '../support/simulated-autoscalers.ts';
import { RUN_MS, replicasFor } from '../support/simulated-cluster.ts';
import { isLong } from './process.ts';
import { drawRoughWorld, type RoughWorld, runRough } from './world.ts';

/** HPA's tolerance of 10 %, and one replica for what each run rounds by itself. */
const TOLERANCE = 0.1;
const ROUNDING = 1;
/** How far back the run without troubles may have wanted as little: a window, a hold and a stabilisation. */
const MEMORY_SYNCS = (12 * 60_000) / SYNC_MS;
const RUN_MS_MAX = isLong ? 180_000 : 25_000;

const replayed = process.env.TIDEGAUGE_SIM_SEED;
const runs = Number(process.env.TIDEGAUGE_SIM_RUNS ?? (isLong ? 1000 : 4));
const base = Date.now() % 1_000_000;

function seedsOf(): number[] {
  // Some are always the same, the others new each time.
  if (replayed === undefined) return Array.from({ length: runs }, (_, i) => (i % 2 === 0 ? i : base + i));
  const [first = 0, last = first] = replayed.split('-').map(Number);
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

async function complaintOf(world: RoughWorld): Promise<{ complaint: string | null; acknowledged: number }> {
  const { replicas: calm, fault: calmFault } = await runRough(world, false);
  const { replicas: rough, fault, acknowledged } = await runRough(world, true);
  const complaint = calmFault ?? fault ?? scalingFault(world, calm, rough);
  return { complaint, acknowledged };
}

function scalingFault(world: RoughWorld, calm: readonly number[], rough: readonly number[]): string | null {
  for (let i = 1; i < rough.length; i++) {
    if (rough[i]! >= rough[i - 1]!) continue;
    const from = Math.max(0, i - MEMORY_SYNCS);
    const asked = Array.from({ length: i + 1 - from }, (_, k) => replicasFor(world, (from + k) * SYNC_MS));
    const least = Math.min(...calm.slice(from, i + 1), ...asked);
    if (rough[i]! >= Math.floor(least * (1 - TOLERANCE)) - ROUNDING) continue;
    return `at ${(i * SYNC_MS) / 1000} s: ${rough[i - 1]} → ${rough[i]}, without troubles at least ${least}`;
  }
  const wanted = replicasFor(world, RUN_MS - 1);
  const last = rough.at(-1)!;
  const isRight = last >= Math.floor(wanted * (1 - TOLERANCE)) - ROUNDING;
  const isEnough = last <= Math.ceil(Math.max(calm.at(-1)!, wanted) * (1 + TOLERANCE)) + ROUNDING;
  return isRight && isEnough
    ? null
    : `in the end ${last}, the load asks for ${wanted}, without troubles ${calm.at(-1)}`;
}

const describe = ({ query, troubles }: RoughWorld): string =>
  `${query}, ${troubles
    .map(({ kind, fromMs, toMs, share }) => `${kind} ${fromMs / 1000}-${toMs / 1000} s (${share.toFixed(2)})`)
    .join(', ')}`;

test('no trouble of network or disk takes a replica away, or a sample that was acknowledged', async (t) => {
  const endMs = performance.now() + RUN_MS_MAX;
  let samples = 0;
  let done = 0;
  for (const seed of seedsOf()) {
    if (done > 0 && performance.now() > endMs) break;
    const world = drawRoughWorld(seed);
    const { complaint, acknowledged } = await complaintOf(world);
    samples += acknowledged;
    done++;
    t.equal(complaint, null, `seed ${seed} (replay with TIDEGAUGE_SIM_SEED=${seed}): ${describe(world)}`);
  }
  t.ok(samples > 0);
  t.comment(`${done} worlds of ${RUN_MS / 60_000} minutes, ${samples} samples acknowledged; new seeds from ${base}`);
});
