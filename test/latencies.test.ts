/** How long queries and the answers to autoscalers took, as the daemon tells it of itself. */
import { request } from 'node:https';
import { test } from 'tap';
import { startDaemon } from './support/daemon.ts';
import { KedaClient } from './support/keda-client.ts';

/** Status of a GET from a port with a certificate of its own making. */
function statusOf(address: string, path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = request(`https://${address}${path}`, { rejectUnauthorized: false, agent: false }, (response) => {
      response.resume().once('end', () => resolve(response.statusCode!));
    });
    asked.once('error', reject).end();
  });
}

test('queries and requests of autoscalers are measured, each where it was asked', async (t) => {
  const daemon = await startDaemon();
  t.teardown(() => daemon.stop());
  const { web, kubernetes, keda } = daemon.listen;
  for (const path of ['query?query=1', 'query?query=vector(', 'query_range?query=1&start=0&end=1&step=1']) {
    await (await fetch(`http://${web}/api/v1/${path}`)).arrayBuffer();
  }
  const client = new KedaClient(keda);
  const trigger = { namespace: 'shop', name: 'work', metadata: { query: 'vector(3)', targetValue: '5' } };
  t.equal((await client.getMetrics(trigger, 'm'))[0]!.metricValueFloat, 3);
  await client.getMetricSpec(trigger);
  await t.rejects(client.getMetrics({ ...trigger, metadata: { query: 'nothing', targetValue: '5' } }, 'm'));
  client.close();
  const group = '/apis/external.metrics.k8s.io';
  t.equal(await statusOf(kubernetes, `${group}/v1beta1`), 200);
  t.equal(await statusOf(kubernetes, `${group}/v1beta1/namespaces/shop/unknown`), 404);

  const text = await (await fetch(`http://${web}/metrics`)).text();
  const of = (name: string, labels: string): number[] =>
    ['count', 'sum'].map((part) => Number(text.split(`${name}_${part}{${labels}} `)[1]?.split('\n')[0]));
  const is = (name: string, labels: string, count: number): void => {
    const [got, sum] = of(name, labels);
    t.equal(got, count, `${name} ${labels}`);
    t.ok(count === 0 ? sum === 0 : sum! > 0 && sum! < 60, `${labels}: ${sum} s`);
  };
  const query = 'tidegauge_query_duration_seconds';
  is(query, 'surface="api",kind="instant"', 2);
  is(query, 'surface="api",kind="range"', 1);
  // A question may be answered without its query, as long as nothing was ever received.
  t.ok(of(query, 'surface="scaling",kind="instant"')[0]! >= 1);
  const scaler = 'tidegauge_scaler_request_duration_seconds';
  is(scaler, 'surface="keda",method="GetMetrics"', 2);
  is(scaler, 'surface="keda",method="GetMetricSpec"', 1);
  is(scaler, 'surface="keda",method="IsActive"', 0);
  is(scaler, 'surface="kubernetes",method="external.metrics.k8s.io"', 1);
});
