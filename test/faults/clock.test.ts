/**
 * Jumps of the wall clock by an hour either way, while senders go on with the right time: what is stored stays and comes back,
 * no autoscaler is told a wrong number, the log and the images go on, and all is as before once the clock is right.
 */
import { type Test, test } from 'tap';
import { LIMITS } from '../../src/model/limits.ts';
import { QueryEngine } from '../../src/promql/engine.ts';
import { Readings } from '../../src/scaling/reading.ts';
import { Registry } from '../../src/telemetry/registry.ts';
import { Steadiness } from '../../src/tsdb/steadiness.ts';
import { TestClock } from '../support/clock.ts';
import { encodeWriteRequest } from '../support/remote-write-encoder.ts';
import { dump } from '../support/store-dump.ts';
import { openSite, randomOf, type Site, settle, T0 } from './site.ts';

const HOUR = 3_600_000;
const ROUND = 15_000;
/** A jump by an hour would take most of what there is with it. */
const RETENTION = HOUR + 300_000;
const seedOf = process.env.TIDEGAUGE_FAULT_SEED;
const seeds = seedOf === undefined ? [1, 2, 3, 4, 5, 6] : [Number(seedOf)];

/** The daemon's parts that look at a clock, and two senders whose own is right. */
class World {
  readonly site: Site;
  readonly readings: Readings;
  readonly #steadiness: Steadiness;
  /** Where the clock should be. */
  rightMs = T0;
  sent = 0;
  refused = 0;

  constructor(site: Site) {
    this.site = site;
    const { head, clock } = site;
    const registry = new Registry();
    const engine = new QueryEngine({ head, clock, registry, lookbackMs: 300_000 });
    this.readings = new Readings({ engine, head, clock, registry, lookbackMs: 300_000, uptimeMs: HOUR });
    this.#steadiness = new Steadiness(clock);
  }

  /** One round: both senders, the daemon's own duties, a question; the answer's number, or null for none. */
  async round(value: number): Promise<number | null> {
    const { site } = this;
    site.clock.advance(ROUND);
    this.rightMs += ROUND;
    const body = encodeWriteRequest(
      ['a', 'b'].map((instance) => ({
        labels: { __name__: 'depth', job: 'queue', instance },
        samples: [{ timestampMs: this.rightMs, value }],
      })),
    );
    const outcome = site.writer.remoteWrite(body);
    await outcome.logged;
    this.sent += 2;
    this.refused += outcome.samplesRefused;
    site.storage.tick();
    if (this.#steadiness.look()) site.head.enforceRetention();
    await settle(site);
    const reading = await this.readings.read({ query: 'sum(depth)', scope: null, surface: 'keda' });
    return reading.kind === 'absence' ? null : reading.value;
  }
}

async function jump(t: Test, seed: number, byMs: number): Promise<void> {
  const random = randomOf(seed);
  const what = `seed ${seed} (TIDEGAUGE_FAULT_SEED), ${byMs / HOUR} h`;
  const world = new World(await openSite({ head: { retentionMs: RETENTION } }));
  const { site } = world;
  for (let i = 0; i < 40; i++) await world.round(5);
  t.equal(await world.round(5), 10, what);
  const before = dump(site.head);
  const images = site.storage.images.taken;
  site.clock.jump(byMs);
  const wrong: (number | null)[] = [];
  for (let i = 0; i < 10 + random(25); i++) {
    const value = await world.round(5);
    if (value !== null && value !== 10) wrong.push(value);
  }
  t.strictSame(wrong, [], `${what}: no number but the right one`);
  const during = dump(site.head);
  for (const [series, text] of before) {
    t.ok(during.get(series)?.startsWith(text), `${what}: nothing that was there is gone`);
  }
  site.clock.jump(-byMs);
  let last: number | null = null;
  for (let i = 0; i < 40; i++) last = await world.round(7);
  t.equal(last, 14, `${what}: right again within ten minutes`);
  t.ok(site.storage.images.taken > images, `${what}: images were taken`);
  t.equal(site.storage.isDegraded, false);
  // Senders are an hour ahead of a clock that jumped back: theirs is too far in the future then, and only then.
  if (byMs > 0) t.equal(world.refused, 0, what);
  else t.ok(world.refused > 0 && world.refused < world.sent / 2, what);
  const other = await openSite({ disk: site.disk.copy(), clock: site.clock, head: { retentionMs: RETENTION } });
  t.strictSame([...dump(other.head)].sort(), [...dump(site.head)].sort(), `${what}: a restart brings it back`);
  site.head.verify();
}

test('a clock that jumps by an hour and comes back costs nothing that was stored, and tells no wrong number', async (t) => {
  for (const seed of seeds) await jump(t, seed, seed % 2 === 0 ? HOUR : -HOUR);
});

test('after a jump that lasts, retention goes on', async (t) => {
  const world = new World(await openSite({ head: { retentionMs: RETENTION } }));
  for (let i = 0; i < 4; i++) await world.round(5);
  world.site.clock.jump(2 * HOUR);
  world.rightMs += 2 * HOUR;
  const samples = () => world.site.head.stats().samples;
  await world.round(5);
  t.equal(samples(), 10);
  for (let i = 0; i < LIMITS.clockHoldMs / ROUND + 4; i++) await world.round(5);
  t.ok(world.site.head.stats().minTimeMs! > T0 + HOUR, 'what is older than it may be is gone by then');
});

test('a clock that drifts is no clock that jumps', async (t) => {
  const clock = new TestClock(T0);
  const steadiness = new Steadiness(clock);
  for (let i = 0; i < 100; i++) {
    clock.advance(10_000);
    clock.jump(i % 2 === 0 ? 20_000 : -15_000);
    t.equal(steadiness.look(), true);
  }
  clock.jump(31_000);
  t.equal(steadiness.look(), false);
  clock.advance(LIMITS.clockHoldMs);
  t.equal(steadiness.look(), true);
  t.equal(steadiness.jumps, 1);
});
