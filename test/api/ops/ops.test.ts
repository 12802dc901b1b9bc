import { spawnSync } from 'node:child_process';
import { pino } from 'pino';
import { test } from 'tap';
import { buildHttp } from '../../../src/api/http.ts';
import { type OpsDeps, registerOps } from '../../../src/api/ops/ops.ts';
import { registerProcessMetrics } from '../../../src/telemetry/process.ts';
import { Registry } from '../../../src/telemetry/registry.ts';

function build(deps: Partial<OpsDeps> = {}) {
  const registry = new Registry();
  registerProcessMetrics({ registry, version: '1.2.3', startTimeMs: 1_700_000_000_123 });
  const app = buildHttp({ logger: pino({ level: 'silent' }), registry });
  registerOps(app, { registry, isReady: () => true, ...deps });
  return app;
}

test('health and readiness', async (t) => {
  const good = build();
  const bad = build({ isReady: () => false, isHealthy: () => false, isStopping: () => true });
  const f = async (app: typeof good, method: 'GET' | 'HEAD' | 'POST', url: string, status: number, body: string) => {
    const reply = await app.inject({ method, url });
    t.strictSame([reply.statusCode, reply.body], [status, body], `${method} ${url}`);
    return reply.headers;
  };
  await f(good, 'GET', '/-/healthy', 200, 'Tidegauge is Healthy.\n');
  await f(good, 'HEAD', '/-/healthy', 200, '');
  await f(good, 'GET', '/-/ready', 200, 'Tidegauge is Ready.\n');
  await f(good, 'HEAD', '/-/ready', 200, '');
  await f(bad, 'GET', '/-/healthy', 503, 'Service Unavailable');
  t.equal((await f(bad, 'GET', '/-/ready', 503, 'Service Unavailable'))['x-prometheus-stopping'], 'true');
  t.equal((await f(good, 'POST', '/-/ready', 405, 'Method Not Allowed\n')).allow, 'GET, HEAD');
});

test('own metrics are well-formed', async (t) => {
  const app = build();
  await app.inject({ method: 'GET', url: '/-/ready' });
  const reply = await app.inject({ method: 'GET', url: '/metrics' });
  t.strictSame([reply.statusCode, reply.headers['content-type']], [200, 'text/plain; version=0.0.4; charset=utf-8']);
  t.strictSame(faultsOf(reply.body), []);
  for (const name of [
    `tidegauge_build_info{version="1.2.3",nodeversion="${process.version}"} 1`,
    'process_start_time_seconds 1700000000.123',
    'tidegauge_http_requests_total{handler="/-/ready",code="200"} 1',
  ]) {
    t.ok(reply.body.includes(`${name}\n`), name);
  }
  const value = (name: string) => Number(new RegExp(`^${name} (.*)$`, 'm').exec(reply.body)?.[1]);
  t.ok(value('process_cpu_seconds_total') > 0);
  t.ok(value('process_resident_memory_bytes') > 1e6);
  t.ok(value('nodejs_heap_size_used_bytes') > 1e6);
  t.ok(value('nodejs_eventloop_lag_max_seconds') >= value('nodejs_eventloop_lag_p50_seconds'));
});

test('the check of the exposition finds faults', async (t) => {
  const f = (text: string, want: RegExp) => t.match(faultsOf(text).join('\n'), want, text);
  f('a 1\n', /a: sample without HELP and TYPE/);
  f('# HELP a b\n# TYPE a counter\na 1\n', /a: a counter without _total/);
  f('# HELP a_total b\n# TYPE a_total gauge\na_total 1\n', /a_total: _total, but not a counter/);
  f('# HELP a b\n# TYPE a gauge\na 1\na 2\n', /a: twice/);
  f('# HELP a b\n# TYPE a gauge\na x\n', /not a number/);
  f('# HELP a b\n# TYPE a gauge\n# TYPE a gauge\na 1\n', /a: TYPE twice/);
  f('# HELP a b\n# TYPE a gauge\na 1', /no newline at the end/);
});

const promtool = spawnSync('promtool', ['--version']).error;

test('promtool accepts the own metrics', {
  skip: promtool === undefined ? false : `promtool cannot be run: ${promtool.message}`,
}, async (t) => {
  const { body } = await build().inject({ method: 'GET', url: '/metrics' });
  const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input: body, encoding: 'utf8' });
  t.strictSame([status, stdout, stderr], [0, '', '']);
});

/** What is wrong with an exposition: names, HELP and TYPE before samples, suffixes, values, repetitions. */
function faultsOf(text: string): string[] {
  const faults: string[] = [];
  const help = new Set<string>();
  const types = new Map<string, string>();
  const seen = new Set<string>();
  if (!text.endsWith('\n')) faults.push('no newline at the end');
  for (const line of text.trimEnd().split('\n')) {
    const comment = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line);
    if (comment !== null) {
      const [, kind, name, rest] = comment as unknown as [string, string, string, string];
      if (kind === 'HELP' ? help.has(name) : types.has(name)) faults.push(`${name}: ${kind} twice`);
      if (kind === 'HELP') help.add(name);
      else types.set(name, rest);
      continue;
    }
    const sample = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*",?)*\})? (\S+)$/.exec(line);
    if (sample === null) {
      faults.push(`not a sample: ${line}`);
      continue;
    }
    const [, name, labels = '', value] = sample as unknown as [string, string, string | undefined, string];
    const family = types.get(name) === undefined ? name.replace(/_(?:bucket|sum|count)$/, '') : name;
    if (!help.has(family) || !types.has(family)) faults.push(`${name}: sample without HELP and TYPE`);
    if (types.get(family) === 'counter' && !name.endsWith('_total')) faults.push(`${name}: a counter without _total`);
    if (types.get(family) !== 'counter' && name.endsWith('_total')) faults.push(`${name}: _total, but not a counter`);
    if (!/^(?:[+-]Inf|NaN|[+-]?\d.*)$/.test(value) || (/\d/.test(value) && Number.isNaN(Number(value))))
      faults.push(`${name}: not a number`);
    if (seen.has(name + labels)) faults.push(`${name}: twice`);
    seen.add(name + labels);
  }
  return faults;
}
