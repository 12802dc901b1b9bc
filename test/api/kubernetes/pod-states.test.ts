/** Pods as a watch of the API server tells of them, and what a Reading makes of a sender that has fallen silent. */
import { type Test, test } from 'tap';
import { ClusterClient } from '../../../src/api/kubernetes/cluster/client.ts';
import { WatchedPods } from '../../../src/api/kubernetes/cluster/pod-states.ts';
import { ScalingStack } from '../../support/scaling-stack.ts';
import { StandInApiServer } from '../../support/stand-in-api-server.ts';
import { waitFor } from '../../support/wait.ts';

const PODS = '/api/v1/pods';

async function open(t: Test, options: { readonly isForbidden?: boolean } = {}) {
  const api = new StandInApiServer({ allows: () => ({ allowed: true }), token: () => ({}) });
  api.isForbidden = options.isForbidden ?? false;
  const client = new ClusterClient(await api.open());
  const stack = new ScalingStack();
  const pods = new WatchedPods({ client, clock: stack.clock, logger: stack.logger, retryMs: 5 });
  t.teardown(async () => {
    pods.stop();
    client.close();
    await api.close();
  });
  const put = (name: string, phase = 'Running', more: object = {}) =>
    api.put(PODS, { metadata: { namespace: 'shop', name, ...more }, status: { phase } });
  const becomes = (name: string, state: string) =>
    waitFor(() => pods.stateOf('shop', name) === state, { timeoutMs: 20_000, what: `${name} to be ${state}` });
  return { api, stack, pods, put, becomes };
}

test('a pod is alive while it runs, and deleted once it was seen to end', async (t) => {
  const { api, pods, put, becomes } = await open(t);
  put('a');
  put('waits', 'Pending');
  t.equal(pods.stateOf('shop', 'a'), 'unknown', 'nothing is read yet');
  await pods.start();
  t.equal(pods.stateOf('shop', 'a'), 'alive');
  t.equal(pods.stateOf('other', 'a'), 'unknown', 'another namespace');
  t.equal(pods.stateOf('shop', 'elsewhere'), 'unknown', 'it may be of another cluster');
  t.equal(pods.stateOf('shop', 'waits'), 'unknown');
  t.equal(pods.count, 1);
  put('waits');
  await becomes('waits', 'alive');
  put('waits', 'Succeeded');
  await becomes('waits', 'deleted');
  put('a', 'Running', { deletionTimestamp: '2026-11-21T10:00:00Z' });
  await becomes('a', 'deleted');
  api.remove(PODS, 'shop', 'a');
  put('a');
  await becomes('a', 'alive');
  api.remove(PODS, 'shop', 'a');
  await becomes('a', 'deleted');
});

test('what ended while nobody watched is found when the list is read again', async (t) => {
  const { api, pods, put, becomes } = await open(t);
  put('a');
  put('b');
  await pods.start();
  api.isForbidden = true;
  api.endWatches();
  await becomes('b', 'unknown');
  api.remove(PODS, 'shop', 'a');
  api.isForbidden = false;
  await becomes('b', 'alive');
  t.equal(pods.stateOf('shop', 'a'), 'deleted');
});

test('who may not read pods knows nothing, until it may', async (t) => {
  const { api, pods, put, becomes } = await open(t, { isForbidden: true });
  put('a');
  await pods.start();
  t.equal(pods.stateOf('shop', 'a'), 'unknown');
  api.isForbidden = false;
  await becomes('a', 'alive');
});

test('a Reading leaves out a sender whose pod ended, and is an error while a pod runs in silence', async (t) => {
  const world = await open(t);
  world.put('a');
  world.put('b');
  await world.pods.start();
  const stack = new ScalingStack({ podStates: world.pods });
  const feed = (...pods: readonly string[]) => {
    stack.clock.advance(15_000);
    for (const pod of pods) stack.put({ __name__: 'depth', namespace: 'shop', pod, job: 'web', instance: pod }, 10);
  };
  const read = async () => {
    const reading = await stack.readings.read({
      query: 'sum(avg_over_time(depth[1m]))',
      scope: ['shop'],
      surface: 'kubernetes',
    });
    return reading.kind === 'absence' ? reading.code : reading.value;
  };
  for (let i = 0; i < 20; i++) feed('a', 'b');
  t.equal(await read(), 20);
  for (let i = 0; i < 8; i++) feed('a');
  t.equal(await read(), 'stale', 'its pod runs: what is missing is load that nobody sees');
  world.api.remove(PODS, 'shop', 'b');
  await world.becomes('b', 'deleted');
  t.equal(await read(), 10, 'its pod ended: the rest is all there is');
});
