/** KEDA beside the built daemon: OTLP in, the rising edge out over the port that both share, and a clean end. */
import { test } from 'tap';
import { encodePoint } from '../api/keda/otlp-points.ts';
import { startDaemon } from '../support/daemon.ts';
import { KedaClient, type Trigger } from '../support/keda-client.ts';
import { waitFor } from '../support/wait.ts';

/** Alone on its machine it is within 20 ms (bench/keda.mjs measures it); beside other tests this only catches a ticker. */
const EDGE_MS_MAX = 450;

function trigger(name: string, metadata: Readonly<Record<string, string>>): Trigger {
  return { namespace: 'shop', name, metadata: { targetValue: '5', ...metadata } };
}

test('from zero within milliseconds of the sample, and every stream ends with OK on SIGTERM', async (t) => {
  const daemon = await startDaemon(['--scaling.warm-up=false']);
  t.teardown(() => daemon.stop());
  const client = new KedaClient(daemon.listen.otlpHttp);
  t.teardown(() => client.close());
  const send = async (queue: string, value: number) => {
    const point = { metric: 'queue.depth', kind: 'gauge', attributes: { queue }, value, atSecond: 0 } as const;
    const reply = await fetch(`http://${daemon.listen.otlpHttp}/v1/metrics`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-protobuf' },
      body: encodePoint(point, Date.now()),
    });
    t.equal(reply.status, 200);
  };
  await send('other', 1);
  const own = trigger('own', { query: 'sum(queue_depth{queue="orders"})' });
  const kedify = trigger('kedify', { metricQuery: 'sum(queue_depth{queue=orders})' });
  const arrivals: number[] = [];
  const streams = [own, kedify].map((one) =>
    client.open('StreamIsActive', one, () => arrivals.push(performance.now())),
  );
  // Both are open once a call that came after them is answered.
  await client.getMetricSpec(own);
  await client.getMetricSpec(own);
  t.strictSame(arrivals, []);
  const sentMs = performance.now();
  await send('orders', 3);
  await waitFor(() => arrivals.length >= 2, { timeoutMs: 5000, what: 'both streams to say true' });
  t.ok(
    arrivals[1]! - sentMs < EDGE_MS_MAX,
    `true came ${Math.round(arrivals[1]! - sentMs)} ms after the sample was sent`,
  );
  t.equal((await client.getMetrics(own, 'm'))[0]!.metricValueFloat, 3);
  t.equal((await client.getMetrics(kedify, 'm'))[0]!.metricValueFloat, 3);
  const names = await fetch(`http://${daemon.listen.web}/memstore/names`);
  t.strictSame(await names.json(), ['queue_depth']);
  t.equal(await daemon.stop(), 0);
  t.strictSame(await Promise.all(streams.map(({ ended }) => ended)), [0, 0]);
});
