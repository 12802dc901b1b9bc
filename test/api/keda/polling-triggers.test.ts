/** KEDA's own `prometheus` and `metrics-api` triggers, with the requests that its scalers write, byte for byte. */
import { request } from 'node:http';
import { gunzipSync } from 'node:zlib';
import { type Test, test } from 'tap';
import { KedaStack } from '../../support/keda-stack.ts';

interface Got {
  readonly status: number;
  readonly body: string;
}

/** As it stands: no client library tidies the target up. */
function get(address: string, path: string, headers: Readonly<Record<string, string>> = {}): Promise<Got> {
  const [host, port] = address.split(':');
  return new Promise((resolve, reject) => {
    const sent = request({ host, port, path, headers: { 'user-agent': 'Go-http-client/1.1', ...headers } }, (reply) => {
      const chunks: Buffer[] = [];
      reply.on('data', (bytes: Buffer) => chunks.push(bytes));
      reply.on('end', () => {
        const bytes = Buffer.concat(chunks);
        const body = String(reply.headers['content-encoding'] === 'gzip' ? gunzipSync(bytes) : bytes);
        resolve({ status: reply.statusCode!, body });
      });
    });
    sent.on('error', reject);
    sent.end();
  });
}

async function open(t: Test) {
  const stack = new KedaStack();
  const web = await stack.openWeb();
  t.teardown(() => stack.close());
  stack.put({ __name__: 'depth', pod: 'a' }, 2);
  stack.put({ __name__: 'depth', pod: 'b' }, 0.5);
  return { stack, web };
}

test('the prometheus trigger: its request in every form, and a value as a string', async (t) => {
  const { web } = await open(t);
  const query = 'query=sum%28depth%7Bpod%3D~%22a%7Cb%22%7D%29+%2B+1&time=2026-11-21T10:00:00Z';
  const f = async (path: string, headers?: Readonly<Record<string, string>>) => {
    const { status, body } = await get(web, path, headers);
    t.equal(status, 200, path);
    t.match(JSON.parse(body), {
      status: 'success',
      data: { resultType: 'vector', result: [{ value: [Number, '3.5'] }] },
    });
  };
  await f(`/api/v1/query?${query}`);
  await f(`/api/v1/query?${query}`, { 'accept-encoding': 'gzip' });
  await f(`//api/v1/query?${query}`);
  // The address of a server that was there before may have a path of its own.
  await f(`/prometheus/api/v1/query?${query}`);
  await f(`//select/0/prometheus/api/v1/query?${query}&namespace=shop`);
  for (const path of ['/prometheus/api/v1/labels?a=b', `/x?y=/api/v1/query?${query}`, `/api/v1/queryx?${query}`])
    t.equal((await get(web, path)).status, 404, path);
  await f(`/api/v1/query?${query}&namespace=shop`);
  await f(`/api/v1/query?${query}&maxSourceResolution=5m&dedup=true`);
  await f(`/api/v1/query?${query}`, { 'accept-encoding': 'identity', authorization: 'Bearer x', 'x-scope-orgid': 'a' });
});

test('the prometheus trigger: what KEDA reads is the status', async (t) => {
  const { web } = await open(t);
  const f = async (query: string, status: number) =>
    t.equal((await get(web, `/api/v1/query?query=${encodeURIComponent(query)}`)).status, status, query);
  await f('sum(nope)', 200);
  await f('sum(', 400);
  await f('depth * on(pod) group_left depth{pod=~".+"} or vector(1)', 200);
  await f('depth{pod=~"("}', 400);
});

test('the metrics-api trigger: a number under a path that gjson finds', async (t) => {
  const { stack, web } = await open(t);
  const f = async (path: string, want: string) => {
    const { status, body } = await get(web, path);
    t.strictSame([status, body], [200, want], path);
  };
  await f('/api/v1/scale/value?query=sum(depth)', '{"value":2.5}');
  await f('/api/v1/scale/value/sum(depth)', '{"value":2.5}');
  await f('/api/v1/scale/value/sum%28depth%7Bpod%3D%22a%22%7D%29', '{"value":2}');
  await f('/api/v1/scale/value/sum(depth)%20%2F%201e9', '{"value":0.0000000025}');
  await f('/api/v1/scale/value?query=vector(1e21)', '{"value":1000000000000000000000}');
  await f('/api/v1/scale/value?query=vector(0)', '{"value":0}');
  await f('/api/v1/scale/value?query=depth&reduce=max', '{"value":2}');
  await f('/api/v1/scale/value?query=sum(nope)&noData=7', '{"value":7}');
  const told = stack.recorder.decisions({ surface: 'keda', name: 'metrics-api', limit: 100 });
  t.equal(told.length, 8, 'each is in the flight recorder');
});

test('the metrics-api trigger: what is not known is an error, never a number', async (t) => {
  const { web } = await open(t);
  const f = async (path: string, status: number, errorType: string) => {
    const got = await get(web, path);
    t.equal(got.status, status, path);
    t.match(JSON.parse(got.body), { status: 'error', errorType });
  };
  await f('/api/v1/scale/value?query=sum(nope)', 404, 'unknown_metric');
  await f('/api/v1/scale/value?query=depth', 422, 'ambiguous');
  await f('/api/v1/scale/value?query=sum(depth)/0', 503, 'not_a_number');
  await f('/api/v1/scale/value?query=sum(', 400, 'bad_data');
  await f('/api/v1/scale/value', 400, 'bad_data');
  await f('/api/v1/scale/value?query=sum(depth)&noDta=1', 400, 'bad_data');
  await f('/api/v1/scale/value?query=sum(depth)&noData=x', 400, 'bad_metadata');
});
