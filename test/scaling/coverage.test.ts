/** Coverage: what silence, starts, gaps and jumps of the clock make of a Reading. */
import { test } from 'tap';
import type { PodState, PodStates } from '../../src/scaling/pods.ts';
import { type Policy, type PolicyKey, parsePolicy } from '../../src/scaling/policy.ts';
import { activityOf, type Reading, type ReadingsOptions } from '../../src/scaling/reading.ts';
import { ScalingStack, START_MS } from '../support/scaling-stack.ts';

const MINUTE_MS = 60_000;

/** Pods that are scraped every 15 s: each has a gauge and a counter that grows by 1 a second. */
class Fleet {
  readonly stack: ScalingStack;
  readonly pods = new Map<string, number>();

  constructor(pods: readonly string[], options: Partial<ReadingsOptions> = {}) {
    this.stack = new ScalingStack(options);
    for (const pod of pods) this.pods.set(pod, 1);
  }

  /** Goes on by whole scrapes, up to and including the last. */
  run(ms: number, without: readonly string[] = []): void {
    for (let done = 0; done < ms; done += 15_000) {
      this.stack.clock.advance(15_000);
      for (const [pod, load] of this.pods) if (!without.includes(pod)) this.scrape(pod, load);
    }
  }

  end(pod: string): void {
    for (const name of ['depth', 'total']) this.stack.end(labelsOf(name, pod), this.stack.clock.nowMs() + 1);
    this.pods.delete(pod);
  }

  scrape(pod: string, load: number): void {
    this.stack.put(labelsOf('depth', pod), load);
    this.stack.put(labelsOf('total', pod), this.stack.clock.nowMs() / 1000);
  }

  read(query: string, policy: Partial<Record<PolicyKey, string>> = {}): Promise<Reading> {
    const parsed: Policy = parsePolicy((key) => policy[key] ?? null);
    return this.stack.readings.read({ query, scope: null, surface: 'keda', policy: parsed });
  }

  async ask(query: string, policy: Partial<Record<PolicyKey, string>> = {}): Promise<string> {
    const reading = await this.read(query, policy);
    if (reading.kind === 'absence') return `${reading.code}: ${reading.reason}`;
    const value = Math.round(reading.value * 1000) / 1000;
    return reading.origin === 'query' ? String(value) : `${value} ${reading.origin}`;
  }
}

function labelsOf(name: string, pod: string): Record<string, string> {
  return { __name__: name, job: 'web', instance: `${pod}:80`, namespace: 'shop', pod };
}

const RATE = 'sum(rate(total[2m]))';
const DEPTH = 'sum(depth)';

test('while one source is silent the value may go up, never down, until the source is forgotten', async (t) => {
  const fleet = new Fleet(['a', 'b', 'c']);
  fleet.run(10 * MINUTE_MS);
  t.equal(await fleet.ask(RATE), '3');
  fleet.run(30_000, ['a']);
  t.equal(await fleet.ask(RATE), '3 held', 'a sample is late');
  fleet.run(MINUTE_MS, ['a']);
  t.equal(await fleet.ask(RATE), '3 held');
  t.equal(await fleet.ask(`${RATE} * (1 + time() % 1)`), '3 held');
  fleet.pods.set('d', 1);
  fleet.pods.set('e', 1);
  fleet.run(2.5 * MINUTE_MS, ['a']);
  t.equal(await fleet.ask(RATE), '4', 'more than before is more');
  fleet.run(MINUTE_MS + 15_000, ['a']);
  t.equal(await fleet.ask(RATE), '4', 'after five minutes the rest counts as whole');
  fleet.end('d');
  fleet.end('e');
  fleet.run(15_000, ['a']);
  fleet.run(2 * MINUTE_MS, ['a']);
  t.equal(await fleet.ask(RATE), '2', 'and can go down');
});

test('the hold does not depend on anybody having asked before', async (t) => {
  const fleet = new Fleet(['a', 'b']);
  fleet.run(10 * MINUTE_MS);
  fleet.run(2 * MINUTE_MS, ['b']);
  t.equal(await fleet.ask(RATE), '2 held');
});

test('a source that ended by stale markers leaves at once', async (t) => {
  const fleet = new Fleet(['a', 'b', 'c']);
  fleet.run(10 * MINUTE_MS);
  fleet.end('c');
  fleet.run(15_000);
  t.equal(await fleet.ask(DEPTH), '2');
  fleet.run(2 * MINUTE_MS);
  t.equal(await fleet.ask(RATE), '2');
});

test('10, then 5, then 2 pods that end without a word: the value gets there', async (t) => {
  const names = Array.from({ length: 10 }, (_, i) => `p${i}`);
  const fleet = new Fleet(names);
  fleet.run(10 * MINUTE_MS);
  for (const query of [DEPTH, RATE]) t.equal(await fleet.ask(query), '10');
  for (const name of names.slice(5)) fleet.pods.delete(name);
  fleet.run(6 * MINUTE_MS);
  for (const query of [DEPTH, RATE]) t.equal(await fleet.ask(query), '5');
  for (const name of names.slice(2)) fleet.pods.delete(name);
  fleet.run(6 * MINUTE_MS);
  for (const query of [DEPTH, RATE]) t.equal(await fleet.ask(query), '2');
});

test('all silent is an absence, and a zero by consent waits until they are forgotten', async (t) => {
  const fleet = new Fleet(['a', 'b']);
  fleet.run(10 * MINUTE_MS);
  fleet.stack.clock.advance(36_000);
  fleet.stack.put({ __name__: 'other' }, 1);
  for (const query of [DEPTH, RATE, `${DEPTH} or vector(0)`]) t.match(await fleet.ask(query), /^stale: stale since /);
  t.match(await fleet.ask(DEPTH, { noData: 'zero' }), /^stale: /, 'known senders are silent');
  t.equal(await fleet.ask('absent(depth) or vector(0)'), '0', 'who asks for silence is answered');
  fleet.stack.clock.advance(5 * MINUTE_MS);
  fleet.stack.put({ __name__: 'other' }, 1);
  t.equal(await fleet.ask(`${DEPTH} or vector(0)`), '0');
  t.equal(await fleet.ask(DEPTH, { noData: 'zero' }), '0 no_data');
  t.equal(await fleet.ask(DEPTH, { noData: '7' }), '7 no_data');
  t.match(await fleet.ask(DEPTH), /^stale: /);
  fleet.stack.clock.advance(6 * MINUTE_MS);
  t.match(await fleet.ask(DEPTH, { noData: 'zero' }), /^stale: /, 'nothing arrives from anybody');
});

test('the last value stands in for a while, if it is asked for', async (t) => {
  const fleet = new Fleet(['a', 'b']);
  fleet.run(5 * MINUTE_MS);
  t.equal(await fleet.ask(DEPTH, { noData: 'last:2m' }), '2');
  fleet.stack.clock.advance(2 * MINUTE_MS);
  t.equal(await fleet.ask(DEPTH, { noData: 'last:2m' }), '2 last');
  t.match(await fleet.ask(DEPTH), /^stale: /);
  fleet.stack.clock.advance(1000);
  t.match(await fleet.ask(DEPTH, { noData: 'last:2m' }), /^stale: /);
});

test('freshness is learned of each series, or set', async (t) => {
  const stack = new ScalingStack();
  const fleet = new Fleet(['a']);
  fleet.run(10 * MINUTE_MS);
  fleet.stack.clock.advance(25_000);
  t.equal(await fleet.ask(DEPTH), '1');
  t.match(await fleet.ask(DEPTH, { freshness: '20s' }), /^stale: /);
  fleet.stack.clock.advance(25_000);
  t.match(await fleet.ask(DEPTH), /^stale: /);
  t.equal(await fleet.ask(DEPTH, { freshness: '1m' }), '1');
  fleet.stack.clock.advance(9 * MINUTE_MS);
  t.equal(await fleet.ask(DEPTH, { freshness: '10m' }), '1', 'the lookback goes as far');
  for (let at = START_MS - 10 * MINUTE_MS; at <= START_MS; at += MINUTE_MS) stack.put({ __name__: 'slow' }, 4, at);
  stack.clock.advance(120_000);
  const slow = await stack.readings.read({ query: 'slow', scope: null, surface: 'keda' });
  t.equal(slow.kind, 'value', 'a sender of one sample a minute may be two minutes late');
});

test('after a start a query warms up until four fifths of its window are covered', async (t) => {
  const fleet = new Fleet(['a', 'b'], { uptimeMs: 0 });
  fleet.run(30_000);
  t.equal(await fleet.ask(DEPTH), '2', 'one interval is enough for what stands now');
  t.match(await fleet.ask(RATE), /^warming_up: warming up: 12 % of its 2m covered, want 80 %/);
  fleet.run(75_000);
  t.match(await fleet.ask(RATE), /^warming_up: /);
  fleet.run(15_000);
  t.equal(await fleet.ask(RATE), '2');
  t.match(await fleet.ask('sum(nope) or vector(0)'), /^warming_up: /, 'what is not there may be yet to come');
  t.match(await fleet.ask('sum(nope)', { noData: 'zero' }), /^unknown_metric: /);
  const first = new Fleet(['a'], { uptimeMs: 0 });
  first.run(15_000);
  t.match(await first.ask(DEPTH), /^warming_up: /, 'others may not have come yet');
  const bold = new Fleet(['a'], { uptimeMs: 0, warmsUp: false });
  bold.run(15_000);
  t.equal(await bold.ask(DEPTH), '1');
  t.equal(await bold.ask('sum(nope) or vector(0)'), '0');
});

test('while warming up, what came so far says yes or nothing', async (t) => {
  const fleet = new Fleet(['a', 'b'], { uptimeMs: 0 });
  fleet.run(15_000);
  const f = async (
    query: string,
    want: boolean | null,
    activation = 0,
    policy: Partial<Record<PolicyKey, string>> = {},
  ) => t.equal(activityOf(await fleet.read(query, policy), activation), want, `${query} above ${activation}`);
  await f(DEPTH, true);
  await f(DEPTH, null, 2);
  await f('depth', null);
  await f('depth', true, 1, { reduce: 'sum' });
  await f(DEPTH, null, 0, { clampMax: '0' });
  await f('sum(depth) - 5', null);
  await f('sum(depth) * NaN', null);
  await f('sum(depth) + (sum(nope) or vector(1))', null);
  t.match(await fleet.ask(DEPTH), /^warming_up: warming up: .*, want 80 %; 2 so far$/);
  fleet.run(MINUTE_MS);
  await f(DEPTH, true);
  await f('sum(depth) - 2', false);
  fleet.stack.clock.jump(-10 * MINUTE_MS);
  await f(DEPTH, null);
});

test('what is new while the daemon listens counts from its first sample', async (t) => {
  const fleet = new Fleet(['a']);
  fleet.run(15_000);
  t.equal(await fleet.ask(DEPTH), '1');
  fleet.run(15_000);
  t.not(await fleet.ask(RATE), '0');
  t.notMatch(await fleet.ask(RATE), /warming/);
});

test('a gap that has just ended is as dangerous as a gap', async (t) => {
  const fleet = new Fleet(['a', 'b']);
  fleet.run(10 * MINUTE_MS);
  fleet.run(2 * MINUTE_MS, ['a', 'b']);
  fleet.run(30_000);
  t.equal(await fleet.ask(RATE), '2 held', 'a short one: the value of before');
  fleet.run(2 * MINUTE_MS);
  t.equal(await fleet.ask(RATE), '2');
  fleet.run(10 * MINUTE_MS, ['a', 'b']);
  fleet.run(30_000);
  t.match(await fleet.ask(RATE), /^warming_up: /, 'a long one: like a start');
  fleet.run(2 * MINUTE_MS);
  t.equal(await fleet.ask(RATE), '2');
});

/** Somebody who knows of the pods that the test names. */
class FakePods implements PodStates {
  readonly states = new Map<string, PodState>();
  readonly asked = new Set<string>();

  stateOf(namespace: string, pod: string): PodState {
    this.asked.add(`${namespace}/${pod}`);
    return this.states.get(`${namespace}/${pod}`) ?? 'unknown';
  }
}

test('what is known of pods decides at once', async (t) => {
  const pods = new FakePods();
  const fleet = new Fleet(['a', 'b', 'c'], { podStates: pods });
  fleet.run(10 * MINUTE_MS);
  t.equal(await fleet.ask(RATE), '3');
  t.equal(pods.asked.size, 0, 'nobody is silent, so nobody is asked');
  fleet.run(2 * MINUTE_MS, ['b']);
  t.equal(await fleet.ask(RATE), '3 held');
  t.strictSame([...pods.asked], ['shop/b']);
  pods.states.set('shop/b', 'deleted');
  t.equal(await fleet.ask(RATE), '2');
  t.equal(await fleet.ask(DEPTH), '3', 'no hold; but its last gauge counts until the lookback ends');
  pods.states.set('shop/b', 'alive');
  t.match(await fleet.ask(RATE), /^stale: instance=b:80 job=web is alive but silent since /);
  t.match(await fleet.ask(DEPTH, { noData: 'zero' }), /^stale: /);
  fleet.run(10 * MINUTE_MS, ['b']);
  t.match(await fleet.ask(RATE), /^stale: instance=b:80 job=web is alive but silent since /, 'it is not forgotten');
  pods.states.set('shop/b', 'deleted');
  t.equal(await fleet.ask(RATE), '2');
  fleet.run(15_000);
  pods.states.set('shop/a', 'deleted');
  t.equal(await fleet.ask(DEPTH), '3', 'who is heard is there, whatever is known');
});

test('who tells of several pods is none of them', async (t) => {
  const pods = new FakePods();
  const fleet = new Fleet([], { podStates: pods });
  const { stack } = fleet;
  const told = (name: string, pod: string, label: string) => {
    const labels = { __name__: name, job: 'state', instance: 'state:80', namespace: 'shop', [label]: pod };
    for (let at = START_MS - 10 * MINUTE_MS; at <= START_MS; at += 15_000) stack.put(labels, 1, at);
  };
  for (const pod of ['a', 'b']) told('restarts', pod, 'pod');
  told('phase', 'a', 'k8s_pod_name');
  stack.clock.advance(MINUTE_MS);
  for (const pod of ['a', 'b']) pods.states.set(`shop/${pod}`, 'deleted');
  t.match(await fleet.ask('sum(restarts)'), /^stale: stale since /);
  t.strictSame([...pods.asked], []);
  await fleet.ask('sum(phase)');
  t.strictSame([...pods.asked], ['shop/a']);
});

test('an offset looks at the coverage of then', async (t) => {
  const fleet = new Fleet(['a', 'b']);
  fleet.run(10 * MINUTE_MS);
  fleet.run(10 * MINUTE_MS, ['b']);
  t.equal(await fleet.ask('sum(depth offset 11m)'), '2');
  t.equal(await fleet.ask('sum(rate(total[1m] offset 9m))'), '2 held');
});

test('a query may be averaged over a window, which must be covered as well', async (t) => {
  const fleet = new Fleet(['a']);
  fleet.run(10 * MINUTE_MS);
  fleet.pods.set('a', 3);
  fleet.run(5 * MINUTE_MS);
  t.equal(await fleet.ask(DEPTH), '3');
  t.equal(await fleet.ask(`${DEPTH} # of the queue`, { window: '10m' }), '2');
  fleet.run(5 * MINUTE_MS);
  t.equal(await fleet.ask(DEPTH, { window: '5m' }), '3');
});

test('values are reduced, clamped, and never misread', async (t) => {
  const fleet = new Fleet(['a', 'b']);
  fleet.pods.set('b', 4);
  fleet.run(5 * MINUTE_MS);
  const f = async (query: string, policy: Partial<Record<PolicyKey, string>>, want: string | RegExp) =>
    t.match(await fleet.ask(query, policy), want, `${query} ${JSON.stringify(policy)}`);
  await f('depth', {}, /^ambiguous: /);
  await f('depth', { reduce: 'sum' }, /^5$/);
  await f('depth', { reduce: 'max' }, /^4$/);
  await f('depth', { reduce: 'min' }, /^1$/);
  await f('depth', { reduce: 'avg' }, /^2.5$/);
  await f('depth', { reduce: 'count' }, /^2$/);
  await f('nope', { reduce: 'count' }, /^unknown_metric/);
  await f(DEPTH, { clampMin: '7' }, /^7$/);
  await f(DEPTH, { clampMax: '500m' }, /^0.5$/);
  await f('sum(depth) - 100', {}, /^negative: /);
  await f('sum(depth) - 100', { clampMin: '0' }, /^0$/);
  await f('sum(depth) / 0', { clampMax: '50' }, /^50$/);
  await f('-sum(depth) / 0', { clampMin: '2' }, /^2$/);
  await f('sum(depth) * NaN', { clampMin: '2' }, /^not_a_number: /);
  await f('sum(depth) * NaN', { noData: 'zero' }, /^0 no_data$/);
  await f('sum(depth) / 0', { noData: 'zero' }, /^not_a_number: /);
  await f('nope', { noData: 'zero', clampMin: '3' }, /^3 no_data$/);
  await f('sum(', { noData: 'zero' }, /^bad_data: /);
});

test('a clock that jumps gives no answer that was true before', async (t) => {
  const fleet = new Fleet(['a', 'b']);
  fleet.run(10 * MINUTE_MS);
  fleet.pods.set('a', 50);
  fleet.run(10 * MINUTE_MS);
  t.equal(await fleet.ask(DEPTH), '51');
  fleet.stack.clock.jump(-10 * MINUTE_MS);
  t.match(await fleet.ask(DEPTH), /^warming_up: warming up: the clock jumped back/);
  fleet.stack.clock.jump(10 * MINUTE_MS);
  fleet.run(15_000);
  t.equal(await fleet.ask(DEPTH), '51');
  fleet.stack.clock.jump(60 * MINUTE_MS);
  t.match(await fleet.ask(DEPTH), /^(stale|no_series)/);
});
