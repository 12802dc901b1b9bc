/** The commands beside `serve`, as people run them, against a fed daemon; and as kubectl's plugin. */
import { readFileSync } from 'node:fs';
import { chmod, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Test, test } from 'tap';
import { plotText, tableText } from '../../src/cli/table.ts';
import { startDaemon } from '../support/daemon.ts';
import { KedaClient } from '../support/keda-client.ts';
import { runProgram, temporaryFolder } from '../support/process.ts';
import { encodeWriteRequest } from '../support/remote-write-encoder.ts';

const ENTRY = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
const tidegauge = (...args: string[]) => runProgram(process.execPath, [ENTRY, ...args]);

async function openWorld(t: Test): Promise<{ readonly url: string; readonly keda: string }> {
  const daemon = await startDaemon(['--scaling.warm-up=false']);
  t.teardown(() => daemon.stop());
  const url = `http://${daemon.listen.web}`;
  const nowMs = Date.now();
  const series = ['a', 'b'].map((pod, i) => ({
    labels: { __name__: 'orders_total', namespace: 'shop', pod },
    samples: Array.from({ length: 20 }, (_, k) => ({
      timestampMs: nowMs - (19 - k) * 15_000,
      value: k * 30 * (i + 1),
    })),
  }));
  const reply = await fetch(`${url}/api/v1/write`, {
    method: 'POST',
    body: encodeWriteRequest(series),
    headers: { 'content-encoding': 'snappy' },
  });
  t.ok(reply.ok);
  return { url, keda: daemon.listen.keda };
}

test('query: table, JSON and plot', async (t) => {
  const { url } = await openWorld(t);
  const f = async (args: string[], want: RegExp, code = 0) => {
    const done = await tidegauge('query', `--url=${url}`, ...args);
    t.equal(done.code, code, `${args.join(' ')}: ${done.stderr}`);
    t.match(done.stdout + done.stderr, want, args.join(' '));
  };
  await f(
    ['orders_total'],
    /^SERIES +VALUE\norders_total\{namespace="shop", pod="a"\} +570\norders_total\{.*pod="b"\} +1140\n$/,
  );
  await f(['1+1'], /^2\n$/);
  await f(['nothing'], /^\(no series\)\n$/);
  await f(['--json', 'sum(orders_total)'], /"resultType": "vector"[\s\S]*"1710"/);
  await f(['--plot', '--range=5m', 'orders_total'], /pod="a"\} {2}last 570\n *570 ┤[\u2800-\u28ff]+/);
  await f(['sum('], /1:5: parse error/, 1);
  await f([], /want one expression/, 1);
  await f(['--nonsense', 'up'], /nonsense/, 1);
  const lost = await tidegauge('query', '--url=http://127.0.0.1:1', 'up');
  t.match([lost.code, lost.stderr], [1, /cannot reach http:\/\/127\.0\.0\.1:1.*--url/]);
});

test('explain and top', async (t) => {
  const { url, keda: address } = await openWorld(t);
  const empty = await tidegauge('top', '--once', `--url=${url}`);
  t.match(empty.stdout, /No autoscaler has asked yet/);
  const keda = new KedaClient(address);
  t.teardown(() => keda.close());
  const metadata = { query: 'sum(rate(orders_total[2m]))', targetValue: '2' };
  t.equal((await keda.poll({ namespace: 'shop', name: 'checkout', metadata })).kind, 'value');
  const top = await tidegauge('top', '--once', `--url=${url}`);
  t.match(top.stdout, /^TRIGGER +STATE +VALUE +TARGET +REPLICAS +AGE +WHY\nshop\/checkout +value +[\d.]+ +2 +\d +/);
  for (const what of ['shop/checkout', 'sum(rate(orders_total[2m]))']) {
    const explained = await tidegauge('explain', `--url=${url}`, what);
    t.equal(explained.code, 0);
    t.match(explained.stdout, /selector +orders_total\[2m\]: 2 series[\s\S]*answer +\d[\s\S]*KEDA is active/, what);
  }
  const absent = await tidegauge('explain', `--url=${url}`, 'ordrs_total');
  t.match([absent.code, absent.stdout], [2, /answer +unknown_metric/]);
});

const MANIFESTS = `
apiVersion: v1
kind: List
items:
  - apiVersion: keda.sh/v1alpha1
    kind: ScaledObject
    metadata: { name: web, namespace: shop }
    spec:
      triggers:
        - type: prometheus
          metadata: { serverAddress: http://prometheus:9090, query: sum(orders_total), threshold: "5" }
        - type: prometheus
          metadata: { serverAddress: http://prometheus:9090, query: "sum(", threshold: "5" }
        - type: external
          metadata: { scalerAddress: tidegauge.monitoring.svc:6000, query: sum(orders_total), targetValue: "5" }
        - type: external
          metadata: { scalerAddress: other:6000, query: sum(orders_total), targetValu: "5" }
        - type: cron
          metadata: { timezone: UTC }
  - apiVersion: autoscaling/v2
    kind: HorizontalPodAutoscaler
    metadata: { name: web, namespace: shop }
    spec:
      metrics:
        - type: Resource
          resource: { name: cpu }
        - type: External
          external: { metric: { name: queue_depth } }
`;

const ADAPTER = `
rules:
  - seriesQuery: 'http_requests_total{namespace!=""}'
    resources: {template: <<.Resource>>}
    metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)
  - seriesQuery: 'http_requests_total{'
    metricsQuery: sum(<<.Series>>)
`;

test('import: what works as is, what changes, and both answers', async (t) => {
  const { url } = await openWorld(t);
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const file = join(folder.path, 'cluster.yaml');
  await writeFile(file, MANIFESTS);
  const done = await tidegauge('import', `--url=${url}`, `--against=${url}`, file);
  t.equal(done.code, 1, 'something does not work');
  const lines = done.stdout.replaceAll(file, 'F');
  t.match(
    lines,
    /F:10:11: ScaledObject shop\/web trigger 0 \(prometheus\): works with these lines:\n {4}serverAddress: http:\/\/tidegauge\.monitoring\.svc:9090\n {4}old 1710\n {4}new 1710\n/,
  );
  t.match(lines, /F:12:11: ScaledObject shop\/web trigger 1 \(prometheus\): does not work: 1:5: parse error/);
  t.match(lines, /trigger 2 \(external\): works as is\n/);
  t.match(lines, /trigger 3 \(external\): does not work: .*targetValue/);
  t.match(lines, /trigger 4 \(cron\), which is not about metrics of ours: works as is\n/);
  t.match(lines, /HPA shop\/web metric 0 \(Resource\), metrics-server answers it: works as is/);
  t.match(
    lines,
    /HPA shop\/web metric 1 \(External\): works with these lines:\n[\s\S]*- name: queue_depth\n +query: sum\(queue_depth\)/,
  );
});

test('import: triggers of Kedify with both answers, an adapter file, and a URL where nobody is', async (t) => {
  const { url } = await openWorld(t);
  // Stands for Kedify's scaler, which merges pods and knows no other metric.
  const asked: string[] = [];
  const scaler = createServer((request, response) => {
    let body = '';
    request.on('data', (part) => {
      body += part;
    });
    request.on('end', () => {
      asked.push(`${request.method} ${request.url} ${body}`);
      const isKnown = body.includes('orders_total');
      response.end(
        JSON.stringify({ ok: true, error: isKnown ? '' : 'Metric not found', value: isKnown ? 1140 : -1 }, null, 2),
      );
    });
  });
  await new Promise<void>((resolve) => scaler.listen(0, '127.0.0.1', resolve));
  t.teardown(() => scaler.close());
  const against = `http://127.0.0.1:${(scaler.address() as AddressInfo).port}/`;
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const file = join(folder.path, 'so.yaml');
  const trigger = (query: string, more = '') =>
    `    - type: external\n      metadata: {scalerAddress: "keda-otel-scaler.keda.svc:4318", metricQuery: "${query}", targetValue: "5"${more}}\n`;
  await writeFile(
    file,
    `kind: ScaledObject\nmetadata: {name: web, namespace: shop}\nspec:\n  triggers:\n${trigger('sum(orders_total{namespace=shop})', ', operationOverTime: max')}${trigger('sum(nothing)')}${trigger('AVG(m)')}`,
  );
  const done = await tidegauge('import', `--url=${url}`, `--against=${against}`, '--address=tg.m.svc', file);
  const [first, second, third] = done.stdout.split(/^(?=\S)/m);
  t.match(
    first,
    /trigger 0 \(external\): works with these lines:\n {4}scalerAddress: tg\.m\.svc:6000\n {4}old 1140\n {4}new 1710\n/,
  );
  t.match(second, /old Metric not found\n {4}new (?:0|warming_up: .*)\n/);
  t.match(third, /trigger 2/);
  t.match(asked[0], 'POST /memstore/query {"operationOverTime":"max","query":"sum(orders_total{namespace=shop})"}');
  const rules = join(folder.path, 'adapter.yaml');
  await writeFile(rules, ADAPTER);
  const adapted = await tidegauge('import', rules);
  t.equal(adapted.code, 1);
  t.match(adapted.stdout, /adapter rule rules\[0\] http_requests_total\{namespace!=""\}: works as is\n/);
  t.match(adapted.stdout, /adapter\.yaml:6:18: adapter rule: does not work: rules\[1\] .*parse error/);
  const lost = await tidegauge('import', `--url=${url}`, '--against=http://127.0.0.1:1', file);
  t.match(lost.stdout, /old no answer: /);
});

test('check-config: own and adapter files, with the line', async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const f = async (name: string, text: string, code: number, want: RegExp) => {
    const path = join(folder.path, name);
    await writeFile(path, text);
    const done = await tidegauge('check-config', path);
    t.match([done.code, done.stdout.replaceAll(path, name)], [code, want], name);
  };
  await f('own.yaml', 'storage:\n  retention: 3h\n', 0, /^the file can be used\n$/);
  await f('typo.yaml', 'storage:\n  retenton: 3h\n', 1, /typo\.yaml:2:3: .*nearest known key is "storage\.retention"/);
  const metric = (more: string) => `customMetrics:\n  - name: a\n    resource: pods\n${more}`;
  await f('metric.yaml', metric('    query: up\n'), 0, /^the file can be used\n$/);
  await f(
    'query.yaml',
    metric('    query: sum(\n'),
    1,
    /^query\.yaml:2:5: cannot use custom metric "a" of pods: 1:5: parse/,
  );
  await f(
    'policy.yaml',
    'externalMetrics: [{name: a, query: up, noData: x}]',
    1,
    /^policy\.yaml:1:19: .*cannot read noData/,
  );
  await f('adapter.yaml', ADAPTER, 1, /^adapter\.yaml:6:18: rules\[1\] http_requests_total\{: 1:\d+: parse error.*\n$/);
  const rule = (keys: string) => `rules:\n- seriesQuery: depth{pod!=""}\n${keys}`;
  const mapped = '  resources: {overrides: {namespace: {resource: namespace}, w: {group: x.io, resource: widgets}}}\n';
  const query = '  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)\n';
  await f('good.yaml', rule(mapped + query), 0, /^the file can be used\n$/);
  await f('key.yaml', rule('  metricQuery: x\n'), 1, /^key\.yaml:1:1: .*\n *line 3: field metricQuery not found/);
  await f(
    'name.yaml',
    rule(`${mapped}  name: {matches: "("}\n${query}`),
    1,
    /^name\.yaml:2:16: rules\[0\] .*missing closing/,
  );
  await f('words.yaml', rule(`${mapped}  metricsQuery: sum(<<.Serie>>)\n`), 1, /^words\.yaml:4:17: .*Serie/);
  await f('none.yaml', rule(query), 1, /^none\.yaml:\d:\d+: rules\[0\]/);
  const cpu = `resourceRules:\n  cpu:\n    containerQuery: sum(cpu{<<.LabelMatchers>>}) by (<<.GroupBy>>)\n    nodeQuery: sum(\n  `;
  await f('cpu.yaml', `${cpu}  resources: {template: <<.Resource>>}\n`, 1, /^cpu\.yaml:3:5: resourceRules\.cpu sum/);
  const map = `kind: ConfigMap\nmetadata: { name: adapter, namespace: m }\ndata:\n  config.yaml: |${ADAPTER.replaceAll('\n', '\n    ')}\n`;
  await f('map.yaml', map, 1, /^map\.yaml:4:\d+ \(config\.yaml\): rules\[1\]/);
  const none = await tidegauge('check-config');
  t.equal(none.code, 1);
});

test("as kubectl's plugin it asks through the API server", async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  // Stands for kubectl: notes how it was called, and answers as the service's proxy would.
  const kubectl = join(folder.path, 'kubectl');
  const asked = join(folder.path, 'asked');
  await writeFile(
    kubectl,
    `#!/bin/sh\necho "$@" >> ${asked}\necho '{"status":"success","data":{"resultType":"scalar","result":[1,"42"]}}'\n`,
  );
  await chmod(kubectl, 0o755);
  const plugin = join(folder.path, 'kubectl-tidegauge');
  await symlink(ENTRY, plugin);
  const env = { PATH: `${folder.path}:${process.env.PATH}` };
  const done = await runProgram(process.execPath, [plugin, 'query', '42', '-n', 'metrics', '--context=dev'], { env });
  t.strictSame([done.code, done.stdout], [0, '42\n'], done.stderr);
  t.equal(
    readFileSync(asked, 'utf8'),
    'get --raw /api/v1/namespaces/metrics/services/tidegauge:9090/proxy/api/v1/query?query=42 --context=dev\n',
  );
  const usage = await runProgram(process.execPath, [plugin], { env });
  t.match([usage.code, usage.stdout], [0, /Usage: tidegauge <command>/]);
});

test('tables and curves', async (t) => {
  t.equal(
    tableText(
      ['A', 'N'],
      [
        ['x', '1'],
        ['long', '10'],
      ],
      ['N'],
    ),
    'A      N\nx      1\nlong  10\n',
  );
  t.equal(plotText([null, null], 4, 2), '(no points)\n');
  t.equal(plotText([0, 1], 1, 1), '1 ┤⡈\n');
  const rising = plotText([0, 1, 2, 3, 4, 5, 6, 7], 4, 2).split('\n');
  t.strictSame([rising[0], rising[1]], ['7 ┤⠀⠀⡠⠊', '0 ┤⡠⠊⠀⠀']);
});
