/**
 * KEDA beside the built daemon: OTLP in, the rising edge out over the port that both share, and a clean end; and the commands
 * of docs/keda.md, as they stand there.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { credentials } from '@grpc/grpc-js';
import { test } from 'tap';
import { generateCertificate } from '../../src/api/kubernetes/certificate.ts';
import { encodePoint } from '../api/keda/otlp-points.ts';
import { startDaemon } from '../support/daemon.ts';
import { KedaClient, type Trigger } from '../support/keda-client.ts';
import { runProgram, startProgram, temporaryFolder, waitForOutput } from '../support/process.ts';
import { findProgram, skipWithout } from '../support/real-programs.ts';
import { waitFor } from '../support/wait.ts';

const UNAVAILABLE = 14;
const ENTRY = new URL('../../dist/main.js', import.meta.url).pathname;
/** Blocks of commands, that is: those without a language. */
const COMMANDS = [
  ...readFileSync(new URL('../../docs/keda.md', import.meta.url), 'utf8').matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm),
]
  .filter(([, language]) => language === '')
  .flatMap(([, , block]) =>
    block!
      .replaceAll(/\\\n\s*/g, ' ')
      .trim()
      .split('\n'),
  );

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

test('the commands of docs/keda.md', { skip: skipWithout('buf', 'curl', 'sh') }, async (t) => {
  const daemon = await startDaemon(['--scaling.warm-up=false']);
  t.teardown(() => daemon.stop());
  const up = 'up{job="shop",instance="a"} 1\nup{job="shop",instance="b"} 1\n';
  await fetch(`http://${daemon.listen.web}/api/v1/import/prometheus`, { method: 'POST', body: up });
  const want: Readonly<Record<string, RegExp>> = {
    'scale/explain': /"outcome":"value","value":2/,
    'scale/value': /^{"value":2}$/,
    'memstore/names': /"up"/,
    'memstore/query': /"ok": true,\n {2}"operation": "query",\n {2}"error": "",\n {2}"value": 2/,
    '/info': /"restApiPort": "\d+"/,
    IsActive: /"result": ?true/,
  };
  const seen = new Set<string>();
  for (const command of COMMANDS.filter((one) => !one.startsWith('tidegauge'))) {
    const here = command
      .replaceAll('tidegauge.monitoring.svc:6000', daemon.listen.keda)
      .replaceAll('tidegauge.monitoring.svc:9090', daemon.listen.web);
    t.not(here, command, command);
    const done = await runProgram(findProgram('sh')!, ['-c', here]);
    t.equal(done.code, 0, `${command}: ${done.stderr}`);
    const [about, answer] = Object.entries(want).find(([part]) => command.includes(part)) ?? [
      '',
      /nothing is known of it/,
    ];
    t.match(done.stdout, answer, command);
    seen.add(about);
  }
  t.strictSame([...seen].sort(), Object.keys(want).sort());
  const info = (await (await fetch(`http://${daemon.listen.web}/info`)).json()) as Record<string, string>;
  const keys = ['version', 'goVersion', 'arch', 'os', 'gitSha', 'retentionSeconds'];
  const ports = ['scalerPort', 'otlpPort', 'internalMetricsPort', 'restApiPort'];
  t.strictSame(Object.keys(info).sort(), [...keys, ...ports].sort());
  const labels = [...keys, ...ports].map((key) => `${key}="${info[key]}"`).join(',');
  const metrics = await (await fetch(`http://${daemon.listen.web}/metrics`)).text();
  t.ok(metrics.includes(`keda_otel_scaler_runtime_info{${labels}} 1`), 'the same as a metric');
});

test('TLS by the flags of docs/keda.md: on its own port and on the one that is shared', {
  skip: skipWithout('openssl'),
}, async (t) => {
  const folder = await temporaryFolder();
  const write = (name: string, text: string) => writeFileSync(join(folder.path, name), text);
  const server = generateCertificate(['localhost', '127.0.0.1'], Date.now());
  write('tls.crt', server.certPem);
  write('tls.key', server.keyPem);
  const [key, ca] = [join(folder.path, 'client.key'), join(folder.path, 'ca.crt')];
  const kind = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=keda'];
  t.equal((await runProgram('openssl', [...kind, '-keyout', key, '-out', ca, '-days', '1'])).code, 0);
  const [command] = COMMANDS.filter((one) => one.startsWith('tidegauge'));
  const free = ['web', 'otlp.grpc', 'otlp.http', 'keda', 'kubernetes'].map(
    (one) => `--${one}.listen-address=127.0.0.1:0`,
  );
  const flags = [...command!.split(' ').slice(1), ...free, '--log.format=json', '--scaling.warm-up=false'];
  const program = await startProgram(process.execPath, [ENTRY, ...flags], { cwd: folder.path });
  t.teardown(async () => {
    await program.stop();
    await folder.remove();
  });
  await waitForOutput(program, /"event":"ready"/, 20_000);
  const line = program
    .output()
    .split('\n')
    .find((one) => one.includes('"event":"ready"'));
  const { listen } = JSON.parse(line!) as { listen: Readonly<Record<'keda' | 'otlpHttp', string>> };
  const point = { metric: 'depth', kind: 'gauge', attributes: {}, value: 3, atSecond: 0 } as const;
  const headers = { 'content-type': 'application/x-protobuf' };
  const body = encodePoint(point, Date.now());
  const sent = await fetch(`http://${listen.otlpHttp}/v1/metrics`, { method: 'POST', headers, body });
  t.equal(sent.status, 200, 'OTLP in plain text');
  const pems = [Buffer.from(server.caPem), readFileSync(key), readFileSync(ca)] as const;
  for (const address of [listen.keda, listen.otlpHttp]) {
    const ask = async (channel: ReturnType<typeof credentials.createSsl>) => {
      const client = new KedaClient(address, channel);
      const poll = await client.poll(trigger('tls', { query: 'sum(depth)' }));
      client.close();
      return poll.kind === 'value' ? poll.milli : -poll.grpcCode;
    };
    t.equal(await ask(credentials.createSsl(...pems)), 3000, address);
    t.equal(await ask(credentials.createSsl(pems[0])), -UNAVAILABLE, 'without a certificate');
    t.equal(await ask(credentials.createInsecure()), -UNAVAILABLE, 'in plain text');
  }
  t.equal(await program.stop(), 0);
});
