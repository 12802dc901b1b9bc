import { test } from 'tap';
import { Pressure, type Stage } from '../../src/tsdb/pressure.ts';
import { bodyOf, openSite, samplesOf, T0 } from '../faults/site.ts';
import { TestClock } from '../support/clock.ts';

test('stages begin at 70, 80 and 90 % and are left two percent below', async (t) => {
  let used = 0;
  const seen: [number, Stage][] = [];
  const store = { refuseNewSeries: () => undefined, setRetentionMs: () => undefined };
  const clock = new TestClock(T0);
  const options = { clock, store, limitBytes: 100, retentionMs: 7_200_000, usedBytes: () => used };
  const pressure = new Pressure({ ...options, onChange: (stage) => seen.push([used, stage]) });
  const f = (bytes: number, want: Stage): void => {
    used = bytes;
    clock.advance(250);
    pressure.tick();
    t.equal(pressure.stage, want, `${bytes} %`);
  };
  f(69, 0);
  f(70, 1);
  f(69, 1);
  f(67, 0);
  f(95, 3);
  t.throws(() => pressure.admit(), { code: 'overloaded' });
  t.throws(() => pressure.admitQuery(), { code: 'overloaded' });
  f(88, 3);
  f(85, 2);
  t.doesNotThrow(() => pressure.admit());
  t.doesNotThrow(() => pressure.admitQuery());
  used = 91;
  t.doesNotThrow(() => pressure.admitQuery(), 'it does not look all the time');
  clock.advance(20);
  t.throws(() => pressure.admitQuery(), { code: 'overloaded' }, 'but before the next tick');
  f(60, 0);
  t.strictSame(
    seen.map(([, stage]) => stage),
    [1, 0, 3, 2, 3, 0],
  );
});

test('from 80 % what is oldest goes, and ingest is refused only when nothing may go any more', async (t) => {
  let used = 82;
  const clock = new TestClock(T0);
  const kept: number[] = [];
  const store = { refuseNewSeries: () => undefined, setRetentionMs: (ms: number) => kept.push(ms) };
  const pressure = new Pressure({ clock, store, limitBytes: 100, retentionMs: 7_200_000, usedBytes: () => used });
  pressure.tick();
  t.doesNotThrow(() => pressure.admit());
  for (let i = 0; i < 40; i++) {
    clock.advance(5000);
    pressure.tick();
  }
  t.equal(pressure.retentionMs, 600_000, 'never below ten minutes');
  t.throws(() => pressure.admit(), { code: 'overloaded' });
  used = 50;
  for (let i = 0; i < 200; i++) {
    clock.advance(5000);
    pressure.tick();
  }
  t.equal(pressure.retentionMs, 7_200_000, 'and all the way back');
  t.ok(kept.length > 20);
});

test('a large body is taken where there is room for what becomes of it', async (t) => {
  const MIB = 2 ** 20;
  let used = 0;
  const clock = new TestClock(T0);
  const store = { refuseNewSeries: () => undefined, setRetentionMs: () => undefined };
  const limitBytes = 100 * MIB;
  const pressure = new Pressure({ clock, store, limitBytes, retentionMs: 7_200_000, usedBytes: () => used });
  const f = (usedMib: number, bodyBytes: number, isTaken: boolean): void => {
    used = usedMib * MIB;
    clock.advance(250);
    pressure.tick();
    const act = (): void => pressure.admitBody(bodyBytes);
    if (isTaken) t.doesNotThrow(act, `${usedMib} MiB, ${bodyBytes}`);
    else t.throws(act, { code: 'overloaded' }, `${usedMib} MiB, ${bodyBytes}`);
  };
  f(50, 13 * MIB, true);
  f(50, 14 * MIB, false);
  f(86, MIB, true);
  f(88, MIB, false);
  f(88, MIB - 1, true);
  // What went meanwhile counts.
  used = 20 * MIB;
  clock.advance(250);
  t.doesNotThrow(() => pressure.admitBody(14 * MIB));
});

test('garbage does not count: from 60 % on it is collected, where there is enough of it, and not all the time', async (t) => {
  let used = 59;
  let grown = 50;
  let collections = 0;
  const clock = new TestClock(T0);
  const store = { refuseNewSeries: () => undefined, setRetentionMs: () => undefined };
  const garbage = {
    grownBytes: () => grown,
    collect: (): void => {
      collections++;
      used -= grown;
      grown = 0;
    },
  };
  const options = { clock, store, limitBytes: 100, retentionMs: 7_200_000, usedBytes: () => used, garbage };
  const pressure = new Pressure(options);
  const f = (usedNow: number, grownNow: number, want: readonly [number, Stage]): void => {
    used = usedNow;
    grown = grownNow;
    clock.advance(250);
    pressure.tick();
    t.strictSame([collections, pressure.stage], want, `${usedNow} % in use, ${grownNow} % of it new`);
  };
  f(59, 50, [0, 0]);
  f(75, 40, [1, 0]);
  f(75, 40, [1, 1]);
  clock.advance(1000);
  f(75, 4, [1, 1]);
  f(75, 30, [2, 0]);
  // Above 80 % sooner, and for less.
  f(95, 3, [3, 3]);
  f(95, 2, [3, 3]);
  f(95, 30, [4, 0]);
  f(95, 30, [5, 0]);
});

test('without new series the known ones go on, and nothing of the others stays', async (t) => {
  const site = await openSite();
  site.writer.remoteWrite(bodyOf([1, 2], T0 + 1, 0));
  const before = site.head.stats().bytes;
  site.head.refuseNewSeries(true);
  const numbers = Array.from({ length: 400 }, (_, i) => i);
  const outcome = site.writer.remoteWrite(bodyOf(numbers, T0 + 2, 0));
  t.equal(outcome.samplesStored, 2);
  t.equal(outcome.samplesRefused, 398);
  t.equal(site.head.stats().bytes, before);
  site.head.refuseNewSeries(false);
  t.equal(site.writer.remoteWrite(bodyOf([7], T0 + 3, 0)).samplesStored, 1);
  site.head.setRetentionMs(1000);
  site.clock.advance(3_600_000);
  site.head.enforceRetention();
  t.equal(samplesOf(site).size, 0);
});
