/** Who is evaluated when, over a real head; time is the test's own, and evaluations are counted. */
import { test } from 'tap';
import type { Matcher } from '../../src/model/matcher.ts';
import { SCOPE_ALL } from '../../src/model/scope.ts';
import { Subscriptions } from '../../src/scaling/subscriptions.ts';
import { ScalingStack } from '../support/scaling-stack.ts';
import { ManualTimers } from '../support/timers.ts';

class Listeners extends ScalingStack {
  readonly timers = new ManualTimers(this.clock);
  readonly subscriptions: Subscriptions;
  /** Names of those that were evaluated since the last look, in order. */
  evaluated: string[] = [];
  /** What an evaluation takes, of the clock. */
  workMs = 0;

  constructor() {
    super();
    const { head, clock, timers, registry } = this;
    this.subscriptions = new Subscriptions({ head, clock, timers, registry });
  }

  async listen(name: string, labels: Readonly<Record<string, string>>): Promise<void> {
    const matchers: Matcher[] = Object.entries(labels).map(([label, value]) => {
      const isPattern = value.includes('|');
      return { type: isPattern ? '=~' : '=', name: label, value };
    });
    this.subscriptions.subscribe({
      selectors: () => [matchers],
      scope: SCOPE_ALL,
      ticks: false,
      evaluate: async () => {
        this.evaluated.push(name);
        this.clock.advance(this.workMs);
        return false;
      },
      tell: () => {},
    });
    await this.pass(0);
  }

  async pass(ms: number): Promise<void> {
    await this.timers.advance(ms);
  }

  /** Writes, lets so much time pass, and says who was evaluated meanwhile. */
  async write(ms: number, ...labels: Readonly<Record<string, string>>[]): Promise<string[]> {
    this.evaluated = [];
    for (const one of labels) this.put({ __name__: 'depth', ...one }, 1);
    this.subscriptions.wake();
    await this.pass(ms);
    return this.evaluated;
  }
}

const DEPTH = { __name__: 'depth' };

test('a new series is told to whoever may read it, and to nobody else', async (t) => {
  const stack = new Listeners();
  for (let i = 0; i < 100; i++) await stack.listen(`q${i}`, { ...DEPTH, queue: `q${i}`, job: 'web' });
  await stack.listen('all', DEPTH);
  await stack.listen('pattern', { ...DEPTH, queue: 'q7|q8' });
  await stack.listen('none', { ...DEPTH, queue: '' });
  await stack.listen('other', { __name__: 'other', queue: 'q7' });
  await stack.listen('nameless', { queue: 'q7' });
  await stack.pass(100);
  t.strictSame((await stack.write(0, { queue: 'q7', job: 'web' })).sort(), [
    'all',
    'nameless',
    'none',
    'pattern',
    'q7',
  ]);
  await stack.pass(100);
  const [one, ...more] = [
    { queue: 'q8', job: 'web' },
    { queue: 'q9', job: 'web' },
    { queue: 'q1', job: 'api' },
  ];
  const woken = await stack.write(0, one, ...more);
  t.strictSame(
    new Set(woken),
    new Set(['all', 'nameless', 'none', 'pattern', 'q8', 'q9', 'q1']),
    'labels are counted each',
  );
  await stack.pass(100);
  t.strictSame((await stack.write(0, { queue: 'q8', job: 'web' })).sort(), ['all', 'pattern', 'q8'], 'one it knows');
});

test('a series that comes as another one goes is not overlooked', async (t) => {
  const stack = new Listeners();
  stack.put({ ...DEPTH, queue: 'a', pod: '1' }, 1);
  await stack.listen('a', { ...DEPTH, queue: 'a' });
  stack.clock.advance(3 * 3_600_000);
  stack.head.enforceRetention();
  t.equal(stack.head.seriesOfLabel('queue', 'a'), 0, 'the old one is gone');
  t.strictSame(await stack.write(0, { queue: 'a', pod: '2' }), ['a']);
});

test('nobody waits for what others hear: a first change goes out at once, further ones together', async (t) => {
  const stack = new Listeners();
  stack.workMs = 8;
  for (const queue of ['a', 'b', 'c']) {
    stack.put({ ...DEPTH, queue }, 0);
    await stack.listen(queue, { ...DEPTH, queue });
  }
  await stack.pass(1000);
  stack.clock.advance(1);
  t.strictSame(await stack.write(0, { queue: 'a' }), ['a'], 'at once');
  stack.clock.advance(1);
  t.strictSame(await stack.write(0, { queue: 'b' }), ['b'], 'at once, although somebody was just evaluated');
  stack.clock.advance(1);
  t.strictSame(await stack.write(0, { queue: 'a' }), [], 'the second change waits');
  stack.clock.advance(1);
  t.strictSame(await stack.write(0, { queue: 'a' }), []);
  stack.clock.advance(1);
  t.strictSame(await stack.write(0, { queue: 'c' }), ['c'], 'at once, although others wait');
  t.strictSame(await stack.write(100), ['a'], 'the changes of one are evaluated together');
  t.strictSame(await stack.write(1000), []);
});

test('many that change together are evaluated a few at a time, and each of them', async (t) => {
  const stack = new Listeners();
  for (let i = 0; i < 100; i++) await stack.listen(`q${i}`, { ...DEPTH, queue: `q${i}` });
  await stack.pass(100);
  let turns = 0;
  let most = 0;
  let seen = 0;
  const all = Array.from({ length: 100 }, (_, i) => ({ queue: `q${i}` }));
  const written = stack.write(0, ...all);
  for (; stack.evaluated.length < 100 && turns < 1000; turns++) {
    await new Promise((resolve) => setImmediate(resolve));
    most = Math.max(most, stack.evaluated.length - seen);
    seen = stack.evaluated.length;
  }
  await written;
  t.strictSame(new Set(stack.evaluated).size, 100);
  t.ok(most <= 32, `${most} between two turns`);
});
