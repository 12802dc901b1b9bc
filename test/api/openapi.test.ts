/** The OpenAPI document: right by a validator that is not ours, complete, and what it says of replies is so. */
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020 } from 'ajv/dist/2020.js';
import pino from 'pino';
import { type Test, test } from 'tap';
import { buildHttp } from '../../src/api/http.ts';
import { registerMemstore } from '../../src/api/keda/memstore.ts';
import { registerOpenApi } from '../../src/api/openapi.ts';
import { openApiPage } from '../../src/api/openapi-page.ts';
import { registerOps } from '../../src/api/ops/ops.ts';
import { registerPrometheus } from '../../src/api/prometheus/prometheus.ts';
import { registerPush } from '../../src/api/push/push.ts';
import { registerScale } from '../../src/api/scale/scale.ts';
import { registerUi } from '../../src/api/ui/ui.ts';
import { type Daemon, startDaemon } from '../support/daemon.ts';

interface Operation {
  readonly summary: string;
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: string;
    readonly required: boolean;
    readonly description: string;
    readonly example?: string;
  }[];
  readonly responses: Readonly<
    Record<string, { readonly content?: Readonly<Record<string, { readonly schema: object }>> }>
  >;
}
interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

async function open(t: Test): Promise<{ readonly daemon: Daemon; readonly document: Document }> {
  const daemon = await startDaemon(['--scaling.warm-up=false']);
  t.teardown(() => daemon.stop());
  const body = 'up{job="web",instance="a"} 1\n# EOF\n';
  const sent = await fetch(`http://${daemon.listen.web}/api/v1/import/prometheus`, { method: 'POST', body });
  t.equal(sent.status, 204, await sent.text());
  const reply = await fetch(`http://${daemon.listen.web}/openapi.json`);
  return { daemon, document: (await reply.json()) as Document };
}

test('the document is OpenAPI 3.1 to a validator', async (t) => {
  const { document } = await open(t);
  const result = await new Validator().validate(JSON.parse(JSON.stringify(document)) as Record<string, unknown>);
  t.strictSame([result.valid, result.errors ?? []], [true, []]);
});

test('replies are what the document says of them', async (t) => {
  const { daemon, document } = await open(t);
  const ajv = new Ajv2020({ strict: false });
  let asked = 0;
  for (const [path, { get }] of Object.entries(document.paths)) {
    if (get === undefined || path.startsWith('/api/v1/live/')) continue;
    const { parameters = [], responses } = get;
    const given = parameters.filter(({ example }) => example !== undefined);
    for (const { name, required, description } of parameters) {
      t.ok(description, `${path} ${name} is described`);
      if (required)
        t.ok(
          given.some((one) => one.name === name),
          `${path} ${name} has an example`,
        );
    }
    const query = new URLSearchParams(
      given.filter((one) => one.in === 'query').map(({ name, example }): [string, string] => [name, example!]),
    );
    const place = path.replaceAll(/\{([^}]+)\}/g, (_, name: string) =>
      encodeURIComponent(given.find((one) => one.name === name)!.example!),
    );
    const reply = await fetch(`http://${daemon.listen.web}${place}?${query}`);
    const text = await reply.text();
    const what = `${path}?${query}: ${text.slice(0, 300)}`;
    if (!t.equal(reply.status, 200, what)) continue;
    const [type, { schema } = { schema: {} }] = Object.entries(responses['200']!.content ?? {})[0] ?? [''];
    t.ok(reply.headers.get('content-type')!.startsWith(type), `${path}: ${reply.headers.get('content-type')}`);
    asked++;
    if (type === 'application/json') t.ok(ajv.validate(schema, JSON.parse(text)), `${what}\n${ajv.errorsText()}`);
  }
  t.ok(asked > 25, `${asked} paths were asked`);
});

test('every route of the web port is in the document, but for the page', async (t) => {
  const app = buildHttp({ logger: pino({ level: 'silent' }) });
  t.teardown(() => app.close());
  const routed = new Set<string>();
  app.addHook('onRoute', ({ url, method }) => {
    if (![method].flat().includes('OPTIONS')) routed.add(url.replaceAll(/:(\w+)/g, '{$1}').replace('*', '{*}'));
  });
  await registerOpenApi(app, '0');
  const nothing = { isReady: () => true } as never;
  registerOps(app, { registry: nothing, isReady: () => true });
  registerPush(app, nothing);
  registerScale(app, nothing);
  registerMemstore(app, nothing);
  registerPrometheus(app, nothing);
  const before = new Set(routed);
  registerUi(app, { folder: '/nowhere', ...(nothing as object) } as never);
  await app.ready();
  const document = app.swagger() as unknown as Document;
  const missing = [...routed].filter((url) => !(url in document.paths));
  t.ok(before.size > 0);
  t.strictSame(missing.sort(), [
    '/',
    '/assets/{name}',
    '/cardinality',
    '/graph',
    '/openapi',
    '/openapi.json',
    '/query',
    '/scaling',
    '/scaling/why',
    '/status',
  ]);
});

test('the page shows every operation, escapes what it shows, and runs no script', async (t) => {
  const { daemon, document } = await open(t);
  const reply = await fetch(`http://${daemon.listen.web}/openapi`);
  const html = await reply.text();
  t.match(reply.headers.get('content-security-policy'), /^default-src 'none'; style-src 'sha256-/);
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, { summary }] of Object.entries(methods)) {
      const shown = `<span class="method">${method.toUpperCase()}</span> <code>${path}</code> ${summary.replaceAll('"', '&quot;')}`;
      t.ok(html.includes(shown), `${method} ${path}`);
    }
  }
  t.match(
    html,
    'curl -G --data-urlencode &#39;query=sum(up)&#39; http://localhost:9090/api/v1/query'.replaceAll('&#39;', "'"),
  );
  t.notMatch(html, /<script/i);
  const hostile = { info: { title: '<script>', version: '"' }, tags: [{ name: 'x', description: '<b>' }], paths: {} };
  t.notMatch(openApiPage(hostile), /<script>|<b>/);
});
