/**
 * Names and values of labels are data: whatever they are, they come back as they were sent, as text, and reach no header, no
 * line of a log but as a quoted text, no prototype, and no element of the page.
 */
import fc from 'fast-check';
import { test } from 'tap';
import { guardRoutes } from '../src/api/access.ts';
import { Guard } from '../src/api/guard.ts';
import { buildHttp, listenHttp } from '../src/api/http.ts';
import { Identities } from '../src/api/identities.ts';
import { registerMemstore } from '../src/api/keda/memstore.ts';
import { registerPrometheus } from '../src/api/prometheus/prometheus.ts';
import { registerPush } from '../src/api/push/push.ts';
import { registerScale } from '../src/api/scale/scale.ts';
import { NO_WEB_FILE } from '../src/config/web-file.ts';
import { defaultExemplars } from '../src/ingest/write.ts';
import { createLogger } from '../src/telemetry/log.ts';
import { Metadata } from '../src/tsdb/metadata.ts';
import { openBrowser } from './support/browser.ts';
import { startDaemon } from './support/daemon.ts';
import { KedaClient } from './support/keda-client.ts';
import { KedaStack } from './support/keda-stack.ts';
import { skipWithout } from './support/real-programs.ts';
import { encodeWriteRequest } from './support/remote-write-encoder.ts';

const NASTY = [
  '__proto__',
  'constructor',
  'hasOwnProperty',
  'toString',
  '<script>window.hacked=1</script>',
  '<img src=x onerror="window.hacked=1">',
  '"}\n# HELP evil\nevil 1\n',
  '\r\nSet-Cookie: evil=1\r\n\r\n',
  '\u001b[2J\u009b31m\u202eevil',
  '../../etc/passwd%00',
  "');DROP TABLE--",
  '{{7*7}}<%= 7 %>',
];
/** No half of a surrogate pair: UTF-8 has none. */
function isText(text: string): boolean {
  return Buffer.from(text).toString() === text;
}

const nasty = fc.oneof(fc.constantFrom(...NASTY), fc.string({ unit: 'binary', minLength: 1, maxLength: 20 }));
const labels = fc
  .tuple(nasty, fc.array(fc.tuple(nasty, nasty), { minLength: 1, maxLength: 4 }))
  .map(([metric, pairs]) => {
    const byName = new Map([...pairs, ['__name__', metric] as const].filter(([name]) => isText(name)));
    return [...byName].filter(([, value]) => isText(value));
  })
  .filter((pairs) => pairs.some(([name]) => name === '__name__'));

async function openStack() {
  const stack = new KedaStack();
  const logs: string[] = [];
  const logger = createLogger({
    level: 'debug',
    format: 'logfmt',
    destination: { write: (line) => void logs.push(line) },
  });
  const { engine, head, clock, kedify, names, readings, recorder, registry, writer } = stack;
  const app = buildHttp({ logger, registry });
  const identities = new Identities({ readRules: () => NO_WEB_FILE, readText: () => '', logger, registry });
  const guard = new Guard({ identities, port: 'web', isLoopback: true, isCertified: false, waived: [], registry });
  guardRoutes(app, guard);
  registerPush(app, { writer, logger, guard });
  registerScale(app, { readings, recorder, head });
  registerMemstore(app, { head, names, clock, kedify, info: () => ({ version: '0.0.0' }) });
  const common = { isReady: () => true, flags: {}, version: '0', queryTimeoutMs: 10_000, lookbackMs: 300_000 };
  const times = { retentionMs: 7_200_000, startTimeMs: clock.nowMs() };
  registerPrometheus(app, {
    guard,
    engine,
    head,
    clock,
    exemplars: defaultExemplars(10),
    metadata: new Metadata(),
    ...common,
    ...times,
  });
  const host = await listenHttp(app, { host: '127.0.0.1', port: 0 });
  return { stack, logs, host, close: () => app.close() };
}

test('what comes back is text, and what was sent', async (t) => {
  const { stack, logs, host, close } = await openStack();
  t.teardown(close);
  const before = JSON.stringify(Object.getOwnPropertyNames(Object.prototype));
  const headersOf = (response: Response): string => JSON.stringify([...response.headers]);
  await fc.assert(
    fc.asyncProperty(labels, nasty, async (pairs, text) => {
      const sample = [{ timestampMs: stack.clock.nowMs(), value: 1 }];
      const writer = await fetch(`http://${host}/api/v1/write`, {
        method: 'POST',
        body: encodeWriteRequest([
          { labels: pairs, samples: sample },
          { labels: [...pairs, ['', text]], samples: sample },
        ]),
      });
      if (writer.status !== 400 || headersOf(writer).includes('evil')) throw new Error(`writing: ${writer.status}`);
      await writer.text();
      const quoted = encodeURIComponent(
        `{${pairs.map(([name, value]) => `${JSON.stringify(name)}=${JSON.stringify(value)}`).join(',')}}`,
      );
      const asked = encodeURIComponent(text);
      for (const path of [
        `/api/v1/query?query=${asked}`,
        `/api/v1/query?query=${quoted}`,
        `/api/v1/series?match[]=${asked}`,
        '/api/v1/labels',
        `/api/v1/label/${encodeURIComponent(pairs[0]![0]).replaceAll('.', '%2E')}/values`,
        '/api/v1/status/tsdb',
        `/api/v1/metadata?metric=${asked}`,
        `/federate?match[]=${quoted}`,
        '/memstore/names',
        '/memstore/data',
        `/api/v1/scale/value?query=${asked}&namespace=${asked}&name=${asked}`,
        '/api/v1/scale/decisions',
        `/${asked}`,
      ]) {
        const response = await fetch(`http://${host}${path}`, { headers: { 'x-nothing': '1' }, redirect: 'manual' });
        const body = await response.text();
        const type = response.headers.get('content-type') ?? 'application/json';
        if (!/^(?:application\/json|text\/plain)/.test(type)) throw new Error(`${path}: ${type}`);
        if (response.headers.has('set-cookie') || headersOf(response).includes('evil'))
          throw new Error(`${path}: a header`);
        if (response.headers.get('x-content-type-options') !== 'nosniff') throw new Error(`${path}: may be guessed at`);
        if (type.startsWith('application/json')) JSON.parse(body);
        if (path.startsWith('/federate') && response.ok) {
          const line = /^(?:#[^\n]*|\S[^\n]* 1 \d+)?$/;
          for (const one of body.split('\n')) if (!line.test(one)) throw new Error(`federate: ${JSON.stringify(one)}`);
        }
      }
    }),
    { numRuns: 60, verbose: 1, endOnFailure: true },
  );
  t.equal(JSON.stringify(Object.getOwnPropertyNames(Object.prototype)), before, 'no prototype has changed');
  t.equal(({} as Record<string, unknown>).hacked, undefined);
  t.ok(logs.length > 0);
  for (const line of logs)
    t.notMatch(line.slice(0, -1), /[\p{Cc}\u2028-\u202e]/u, 'one line, and nothing that a terminal obeys');
  for (const line of stack.registry.expose().split('\n')) t.match(line, /^(?:#.*|[a-z_:]+(?:\{.*\})? \S+)?$/i);
});

test('series come back under exactly their labels', async (t) => {
  const { stack, host, close } = await openStack();
  t.teardown(close);
  const pairs = NASTY.map((name, i) => [name, NASTY[(i + 1) % NASTY.length]!] as const);
  const all = [...pairs, ['__name__', '__proto__'] as const];
  const samples = [{ timestampMs: stack.clock.nowMs(), value: 1 }];
  const sent = await fetch(`http://${host}/api/v1/write`, {
    method: 'POST',
    body: encodeWriteRequest([{ labels: all, samples }]),
  });
  t.equal(sent.status, 204);
  const url = `http://${host}/api/v1/query?query=${encodeURIComponent('{__name__="__proto__"}')}&time=${stack.clock.nowMs() / 1000}`;
  const reply = (await (await fetch(url)).json()) as { data: { result: { metric: Record<string, string> }[] } };
  const { metric } = reply.data.result[0]!;
  for (const [name, value] of all) t.equal(Object.getOwnPropertyDescriptor(metric, name)?.value, value, name);
});

test('log lines in both formats', async (t) => {
  for (const format of ['json', 'logfmt'] as const) {
    const lines: string[] = [];
    const logger = createLogger({ level: 'info', format, destination: { write: (line) => void lines.push(line) } });
    for (const text of NASTY) logger.info({ text, [text]: text, list: [text], deep: { [text]: text } }, text);
    for (const line of lines) {
      t.notMatch(line.slice(0, -1), /[\p{Cc}\p{Cf}\u2028\u2029]/u);
      if (format === 'json') t.type(JSON.parse(line).msg, 'string');
    }
    t.equal(lines.length, NASTY.length);
  }
});

test('the page shows them as text', { skip: skipWithout('chromium') }, async (t) => {
  const daemon = await startDaemon(['--scaling.warm-up=false']);
  t.teardown(() => daemon.stop());
  const { web, keda } = daemon.listen;
  const samples = [{ timestampMs: Date.now(), value: 3 }];
  const pairs = NASTY.map((name, i) => [name, NASTY[(i + 4) % NASTY.length]!] as const);
  const series = NASTY.map((name) => ({
    labels: [...pairs, ['__name__', name] as const, ['job', name] as const],
    samples,
  }));
  const sent = await fetch(`http://${web}/api/v1/write`, { method: 'POST', body: encodeWriteRequest(series) });
  t.equal(sent.status, 204);
  const asker = new KedaClient(keda);
  for (const name of NASTY) {
    const metadata = { query: `sum({${JSON.stringify('__name__')}=${JSON.stringify(name)}})`, targetValue: '1' };
    await asker.getMetrics({ namespace: name.replaceAll(/[\r\n]/g, ''), name, metadata }, 's0-x').catch(() => null);
  }
  asker.close();
  const browser = await openBrowser();
  t.teardown(() => browser.close());
  const page = await browser.newPage();
  const dialogs: string[] = [];
  page.on('dialog', (dialog) => {
    dialogs.push(dialog.message());
    void dialog.dismiss();
  });
  const query = encodeURIComponent('{__name__=~".+"}');
  for (const path of [
    '/scaling',
    `/query?g0.expr=${query}`,
    `/graph?g0.expr=${query}&g0.tab=0`,
    '/cardinality',
    '/status',
  ]) {
    await page.goto(`http://${web}${path}`, { waitUntil: 'load' });
    await page.waitForLoadState('networkidle', { timeout: 3000 }).catch(() => undefined);
    const found = (await page.evaluate(
      `({ hacked: 'hacked' in globalThis, images: document.querySelectorAll('img[src="x"]').length, text: document.body.innerText.length })`,
    )) as { hacked: boolean; images: number; text: number };
    t.strictSame([found.hacked, found.images], [false, 0], path);
    t.ok(found.text > 20, `${path} shows something`);
  }
  t.strictSame(dialogs, []);
});
