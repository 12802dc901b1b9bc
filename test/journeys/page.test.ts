/** The page in Debian's chromium: what people do with it, in light and dark, wide and narrow; its size and its policy. */
import { readdirSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import type { Browser } from 'playwright-core';
import { type Test, test } from 'tap';
import { ARTEFACTS, longestTaskCpuMs, openBrowser, openPage } from '../support/browser.ts';
import { startDaemon } from '../support/daemon.ts';
import { httpsClient } from '../support/https-client.ts';
import { KedaClient } from '../support/keda-client.ts';
import { temporaryFolder } from '../support/process.ts';
import { skipWithout } from '../support/real-programs.ts';
import { encodeWriteRequest, type SeriesToEncode } from '../support/remote-write-encoder.ts';

const SHIPPED = fileURLToPath(new URL('../../dist/web/', import.meta.url));
const FIRST_BYTES_MAX = 60 * 1024;
const INTERACTIVE_MS_MAX = 1000;
const skip = skipWithout('chromium');

test('before the editor is loaded the page is at most 60 KiB compressed, and nothing names another host', async (t) => {
  const html = readFileSync(join(SHIPPED, 'index.html'), 'utf8');
  const linked = [...html.matchAll(/(?:src|href)="\/(assets\/[^"]+)"/g)].map((match) => match[1]!);
  // What the first script imports at once belongs to it; what it imports later does not.
  const scripts = linked.filter((name) => name.endsWith('.js'));
  for (const name of scripts) {
    const text = readFileSync(join(SHIPPED, name), 'utf8');
    for (const [, chunk] of text.matchAll(/(?:^|;|\})import(?:[^("';]*from)?"\.\/([^"]+)"/g))
      scripts.push(`assets/${chunk}`);
    // Threads are named by their address.
    for (const [, thread] of text.matchAll(/"\/(assets\/[\w-]+\.js)"/g)) scripts.push(thread!);
  }
  const names = ['index.html', ...new Set([...linked, ...scripts])];
  const bytes = names.map((name) => gzipSync(readFileSync(join(SHIPPED, name))).length).reduce((a, b) => a + b);
  const all = readdirSync(join(SHIPPED, 'assets')).map(
    (name) => gzipSync(readFileSync(join(SHIPPED, 'assets', name))).length,
  );
  t.comment(`${bytes} bytes before the editor, ${all.reduce((a, b) => a + b)} with it: ${names.join(' ')}`);
  t.ok(names.length >= 4, names.join(' '));
  t.ok(bytes <= FIRST_BYTES_MAX, `${bytes} bytes`);
  t.ok(all.length > names.length - 1, 'the editor is a file of its own');
});

async function send(web: string, series: readonly SeriesToEncode[]): Promise<void> {
  const reply = await fetch(`http://${web}/api/v1/write`, {
    method: 'POST',
    body: encodeWriteRequest(series),
    headers: { 'content-encoding': 'snappy', 'content-type': 'application/x-protobuf' },
  });
  if (!reply.ok) throw new Error(`cannot feed: ${reply.status} ${await reply.text()}`);
}

function seriesOf(name: string, count: number, points: number, stepMs: number): readonly SeriesToEncode[] {
  const endMs = Date.now();
  return Array.from({ length: count }, (_, i) => ({
    labels: { __name__: name, instance: `pod-${String(i).padStart(4, '0')}`, job: 'shop', namespace: 'shop' },
    samples: Array.from({ length: points }, (_, k) => ({
      timestampMs: endMs - (points - 1 - k) * stepMs,
      value: k * (i + 1) + (k % 5),
    })),
  }));
}

async function openWorld(t: Test, flags: readonly string[] = []) {
  const daemon = await startDaemon(['--scaling.warm-up=false', ...flags]);
  t.teardown(() => daemon.stop());
  const { web, keda: address, kubernetes, otlpHttp } = daemon.listen;
  const keda = new KedaClient(address);
  t.teardown(() => keda.close());
  const browser = await openBrowser();
  t.teardown(() => browser.close());
  return { web, keda, browser, kubernetes, otlpHttp };
}

const TRIGGER = {
  namespace: 'shop',
  name: 'checkout',
  metadata: { query: 'sum(rate(orders_total[2m]))', targetValue: '2' },
};

test('empty states say what to do, with a command', { skip }, async (t) => {
  const { web, browser } = await openWorld(t);
  const { page, faults } = await openPage(browser, web);
  const empty = async (path: string, want: RegExp) => {
    await page.goto(path);
    const panel = page.locator('[data-empty]').first();
    await panel.waitFor();
    t.match(await panel.innerText(), want, path);
    t.ok(await panel.getByRole('button', { name: 'Copy' }).isVisible());
  };
  await empty('/', /No autoscaler has asked yet[\s\S]*scalerAddress/);
  await empty('/query', /Type an expression/);
  await empty('/query?g0.expr=nothing_here&g0.tab=table', /No series has a sample[\s\S]*curl/);
  await empty('/cardinality', /no series yet[\s\S]*remote_write/);
  await empty('/status', /Nobody has sent anything yet[\s\S]*remote_write/);
  await empty('/scaling/why?surface=keda&namespace=a&name=b&query=up', /no answer for this trigger[\s\S]*curl/);
  t.strictSame(faults, []);
});

/** From the navigation until the first page has its answer and heeds a key; nothing is cached. */
async function interactiveMs(browser: Browser, web: string): Promise<number> {
  const { page } = await openPage(browser, web);
  const began = performance.now();
  await page.goto('/', { waitUntil: 'commit' });
  await page.locator('[data-empty]').waitFor();
  await page.keyboard.press('2');
  await page.getByRole('heading', { name: 'Explore' }).waitFor();
  const tookMs = performance.now() - began;
  await page.context().close();
  return tookMs;
}

test('the page is interactive within a second', { skip }, async (t) => {
  const { web, browser } = await openWorld(t);
  // The best of a few loads: this is about the page, not about what else the machine does meanwhile.
  const loadsMs: number[] = [];
  while (loadsMs.length < 8 && !loadsMs.some((ms) => ms <= INTERACTIVE_MS_MAX))
    loadsMs.push(Math.round(await interactiveMs(browser, web)));
  t.comment(`interactive after ${loadsMs.join(', ')} ms`);
  t.ok(Math.min(...loadsMs) <= INTERACTIVE_MS_MAX, loadsMs.join(' '));
});

test('scaling: triggers live, and why', { skip }, async (t) => {
  const { web, keda, browser } = await openWorld(t);
  const { page, faults } = await openPage(browser, web, { colorScheme: 'dark' });
  await page.goto('/');
  await page.locator('[data-empty]').waitFor();
  t.equal(await page.evaluate('document.documentElement.dataset.theme'), 'dark');
  // The trigger is asked for while the page is open: it appears by itself.
  await send(web, seriesOf('orders_total', 3, 20, 15_000));
  t.equal((await keda.poll(TRIGGER)).kind, 'value');
  const link = page.getByRole('link', { name: 'shop/checkout' });
  await link.waitFor();
  const row = page.locator('tbody tr').first();
  t.match(await row.innerText(), /active/);
  const wrong = { ...TRIGGER, name: 'typo', metadata: { query: 'sum(rate(ordrs_total[2m]))', targetValue: '2' } };
  t.equal((await keda.poll(wrong)).kind, 'error');
  await page.getByText('error: unknown_metric').waitFor();
  await page.screenshot({ path: join(ARTEFACTS, 'scaling-dark.png') });
  await link.click();
  await page.locator('[data-chain]').waitFor();
  const text = await page.locator('main').innerText();
  for (const want of [
    /Why shop\/checkout/,
    /sum\(rate\(orders_total\[2m\]\)\)/,
    /matched 3 series/,
    /pod-0001/,
    /KEDA is active/,
    /HPA wants/,
    /Last \d+ answers/,
    /Steps of the policy/,
  ])
    t.match(text, want);
  await page.locator('.plot canvas').waitFor();
  await page.screenshot({ path: join(ARTEFACTS, 'why-dark.png'), fullPage: true });
  // The address alone leads there again.
  const shared = page.url();
  const other = await openPage(browser, web);
  await other.page.goto(shared);
  await other.page.locator('[data-chain]').waitFor();
  t.strictSame([...faults, ...other.faults], []);
});

test('explore: type, complete, see table, graph and tree, share the link', { skip }, async (t) => {
  const { web, browser } = await openWorld(t);
  await send(web, seriesOf('orders_total', 3, 40, 15_000));
  const { page, faults } = await openPage(browser, web);
  await page.goto('/query');
  await page.locator('[data-editor=ready]').waitFor();
  const editor = page.getByRole('textbox', { name: 'Expression' });
  await editor.click();
  await page.keyboard.type('orders');
  // Completion knows the metrics of the daemon.
  await page.locator('.cm-tooltip-autocomplete').getByText('orders_total').first().waitFor();
  await page.keyboard.press('Escape');
  await page.keyboard.press('Control+a');
  await page.keyboard.type('sum by (instance) (rate(orders_total[1m]))');
  await page.keyboard.press('Escape');
  await page.keyboard.press('Control+Enter');
  await page.locator('[data-result=matrix] .plot[data-lines="3"] canvas').waitFor();
  t.match(page.url(), /g0\.expr=sum\+by\+/);
  await page.screenshot({ path: join(ARTEFACTS, 'explore-light.png') });
  await page.getByRole('tab', { name: 'Table' }).click();
  await page.locator('[data-result=vector]').waitFor();
  t.equal(await page.locator('[data-result=vector] tbody tr').count(), 3);
  await page.getByRole('tab', { name: 'Explain' }).click();
  await page.locator('[data-tree]').waitFor();
  t.match(await page.locator('[data-tree]').innerText(), /sum[\s\S]*rate/);
  await page.goBack();
  await page.locator('[data-result=vector]').waitFor();
  // A link of Prometheus 2, and an expression that is wrong.
  const shared = await openPage(browser, web);
  await shared.page.goto('/graph?g0.expr=orders_total&g0.tab=0&g0.range_input=5m&g1.expr=sum(&g1.tab=1');
  await shared.page.locator('.plot[data-lines="3"] canvas').waitFor();
  t.match(await shared.page.getByRole('alert').innerText(), /1:5: parse error: unclosed left parenthesis/);
  t.strictSame([...faults, ...shared.faults.filter((fault) => !/status of 400/.test(fault))], []);
});

test('scaling: states of triggers and of an HPA metric, with values, targets and replicas', { skip }, async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const file = join(folder.path, 'tidegauge.yaml');
  await writeFile(file, 'externalMetrics:\n  - {name: orders, query: sum(orders_total)}\n');
  const { web, keda, browser, kubernetes } = await openWorld(t, [
    `--config.file=${file}`,
    `--kubernetes.cert-dir=${folder.path}`,
  ]);
  const old = { labels: { __name__: 'old_depth' }, samples: [{ timestampMs: Date.now() - 600_000, value: 3 }] };
  await send(web, [...seriesOf('orders_total', 2, 20, 15_000), old]);
  const ask = (name: string, metadata: Readonly<Record<string, string>>) =>
    keda.poll({ namespace: 'shop', name, metadata: { targetValue: '100', ...metadata } });
  for (let i = 0; i < 3; i++) await ask('busy', { query: 'sum(orders_total)' });
  await ask('calm', { query: 'sum(orders_total)', activationTargetValue: '1e9' });
  await ask('quiet', { query: 'sum(nothing_yet)', noData: '0' });
  await ask('silent', { query: 'sum(old_depth)' });
  const hpa = await httpsClient(
    kubernetes,
    readFileSync(join(folder.path, 'ca.crt'), 'utf8'),
  )({
    path: '/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/orders',
    headers: {},
  });
  t.equal(hpa.status, 200, hpa.text);
  const { page, faults } = await openPage(browser, web);
  await page.goto('/scaling');
  const row = (name: string) => page.locator('tbody tr').filter({ has: page.getByRole('link', { name, exact: true }) });
  await row('shop/busy').waitFor();
  const total = 19 + 4 + 2 * 19 + 4;
  t.match(
    await row('shop/busy').innerText(),
    new RegExp(`active[\\s\\S]*\\b${total}\\s+100\\s+1\\b`),
    'value, target, replicas',
  );
  t.ok((await row('shop/busy').locator('svg.spark polyline').getAttribute('points'))!.split(' ').length >= 3);
  t.match(await row('shop/calm').innerText(), /idle/);
  t.match(await row('shop/quiet').innerText(), /holding \(no_data\)[\s\S]*noData is 0/);
  t.match(await row('shop/silent').innerText(), /stale|error: no_series/);
  t.match(await row('shop/orders').innerText(), new RegExp(`kubernetes[\\s\\S]*active[\\s\\S]*\\b${total}\\b`));
  // What needs a look stands first.
  t.match(await page.locator('tbody tr').first().innerText(), /shop\/(?:quiet|silent)/);
  await page.getByRole('searchbox', { name: 'Filter' }).fill('calm');
  t.equal(await page.locator('tbody tr').count(), 1);
  t.strictSame(faults, []);
});

test('explore: HELP texts, pickers, keys, and long work that can be given up', { skip }, async (t) => {
  const { web, browser, otlpHttp } = await openWorld(t);
  // Older than a step of the graph, whose last one may lie that long before now.
  const dataPoints = [{ timeUnixNano: `${Date.now() - 60_000}000000`, asDouble: 4 }];
  const metrics = [{ name: 'queue_depth', description: 'Messages that wait.', gauge: { dataPoints } }];
  const stored = await fetch(`http://${otlpHttp}/v1/metrics`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ resourceMetrics: [{ scopeMetrics: [{ metrics }] }] }),
  });
  t.equal(stored.status, 200);
  const { page, faults } = await openPage(browser, web);
  await page.goto('/');
  await page.locator('[data-empty]').waitFor();
  // By the key alone to the expression, then to the answer.
  await page.keyboard.press('/');
  await page.locator('[data-editor=ready]').waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type('queue_d');
  await page.locator('.cm-tooltip-autocomplete').getByText('queue_depth').first().waitFor();
  await page.getByText('Messages that wait.').first().waitFor();
  await page.keyboard.press('Escape');
  await page.keyboard.press('Control+a');
  await page.keyboard.type('queue_depth');
  await page.keyboard.press('Escape');
  await page.keyboard.press('Control+Enter');
  await page.locator('[data-result=matrix] .plot[data-lines="1"] canvas').waitFor();
  await page.getByRole('button', { name: '15m', exact: true }).click();
  await page.waitForURL(/g0\.range_input=15m/);
  await page.getByLabel('Step').fill('30s');
  await page.getByLabel('Step').press('Tab');
  await page.waitForURL(/g0\.step_input=30/);
  // An answer that takes long shows that it does, and can be given up.
  let holds = true;
  await page.context().route('**/api/v1/query?*', async (route) => {
    while (holds) await new Promise((resolve) => setTimeout(resolve, 20));
    await route.continue().catch(() => {});
  });
  await page.getByRole('tab', { name: 'Table' }).click();
  await page
    .getByRole('status')
    .getByText(/Asking \d/)
    .waitFor();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('button', { name: 'Cancel' }).waitFor({ state: 'detached' });
  holds = false;
  await page.getByRole('button', { name: 'Execute' }).click();
  await page.locator('[data-result=vector]').waitFor();
  t.match(await page.locator('[data-result=vector]').innerText(), /queue_depth\s+4/);
  t.strictSame(faults, []);
});

test('explore: a thousand series of an hour are drawn without a long task', { skip }, async (t) => {
  const { web, browser } = await openWorld(t);
  for (let i = 0; i < 4; i++) await send(web, thousand(i));
  const { page, faults } = await openPage(browser, web);
  await page.addInitScript(
    'window.longest = 0; new PerformanceObserver((list) => { for (const e of list.getEntries()) longest = Math.max(longest, e.duration); }).observe({ type: "longtask", buffered: true });',
  );
  const cpuMs = await longestTaskCpuMs(page, async () => {
    await page.goto('/query?g0.expr=many&g0.tab=graph&g0.range_input=1h');
    await page.locator('.plot[data-painted="1000"] canvas').waitFor();
    // Moving over the plot must stay smooth too.
    for (let x = 100; x < 1000; x += 100) await page.mouse.move(x, 500);
  });
  t.comment(`longest task ${Math.round(cpuMs)} ms of the processor, ${await page.evaluate('Math.round(longest)')} ms`);
  t.ok(cpuMs < LONG_TASK_MS_MAX, `${cpuMs} ms`);
  t.strictSame(faults, []);
});

/**
 * Of the processor: a task's length by the clock grows with whatever else the machine does, which a test cannot bound. The
 * page promises 200 ms. It took 56 to 131 here, and 90 to 181 when it still read the answer on its own thread.
 */
const LONG_TASK_MS_MAX = 200;

test('explore: more lines than are drawn say so', { skip }, async (t) => {
  const { web, browser } = await openWorld(t);
  for (let i = 0; i < 3; i++) await send(web, seriesOf(`wide_${i}`, 700, 2, 15_000));
  const { page, faults } = await openPage(browser, web);
  await page.goto('/query?g0.expr=%7B__name__%3D~%22wide_.%22%7D&g0.tab=graph&g0.range_input=5m');
  await page.locator('.plot[data-painted="2000"] canvas').waitFor();
  const text = await page.locator('[data-result=matrix]').innerText();
  t.match(text, /Only the first 2,000 series are drawn: narrow the expression/);
  t.match(text, /results truncated due to limit/);
  // One of them alone, as the legend has it.
  await page.getByText('2,000 series, the first 200').click();
  await page.getByRole('button', { name: 'wide_0{instance="pod-0001"' }).click();
  await page.locator('.plot[data-lines="1"] canvas').waitFor();
  await page.getByRole('tab', { name: 'Table' }).click();
  await page.locator('[data-result=vector]').waitFor();
  t.match(
    await page.locator('[data-result=vector]').innerText(),
    /2,100 series[\s\S]*1,900 more; narrow the expression/,
  );
  t.strictSame(faults, []);
});

function thousand(part: number): readonly SeriesToEncode[] {
  return seriesOf('many', 1000, 240, 15_000).slice(part * 250, part * 250 + 250);
}

test('cardinality and status, at phone width', { skip }, async (t) => {
  const { web, keda, browser } = await openWorld(t);
  await send(web, seriesOf('orders_total', 3, 20, 15_000));
  await keda.poll(TRIGGER);
  const { page, faults } = await openPage(browser, web, { viewport: { width: 390, height: 800 } });
  await page.goto('/cardinality');
  await page.getByRole('link', { name: 'orders_total', exact: true }).waitFor();
  t.match(await page.locator('main').innerText(), /Who sends them\s+job=shop\s+3/);
  for (const want of [
    /Metrics with most series\s+orders_total\s+3/,
    /Labels with most values\s+instance\s+3/,
    /Label pairs with most series[\s\S]*job=shop\s+3/,
    /New series[\s\S]*Series removed/,
  ])
    t.match(await page.locator('main').innerText(), want);
  await page.getByRole('heading', { name: 'Memory by part' }).waitFor();
  t.match(await page.locator('main').innerText(), /Memory by part[\s\S]*chunks\s+\d+ KiB[\s\S]*Memory by label/);
  // By keys alone: the status, then back to the triggers.
  await page.keyboard.press('4');
  await page.getByText('Configuration in effect').waitFor();
  await page.getByText('Resident memory').waitFor();
  // What is refused appears while the page is open, with an example of it.
  t.equal(await page.locator('[data-rejects]').count(), 0);
  const ahead = `orders_total{job="late"} 1 ${Date.now() + 86_400_000}\n`;
  const refused = await fetch(`http://${web}/api/v1/import/prometheus`, {
    method: 'POST',
    body: ahead,
    headers: { 'user-agent': '<img src=x onerror="document.title=1">' },
  });
  t.equal(refused.status, 400);
  await page.locator('[data-rejects]').waitFor();
  t.match(
    await page.locator('[data-rejects] tbody').innerText(),
    /text\s+too_far_ahead\s+1 samples\s+\S+\s+orders_total\{job="late"\}/,
  );
  // Who it was, and whatever it calls itself is text.
  t.match(
    await page.locator('[data-senders] tbody').innerText(),
    /127\.0\.0\.1\s+<img src=x onerror="document.title=1">\s+text\s[\s\S]*too_far_ahead: 1 samples/,
  );
  t.equal(await page.locator('main img').count(), 0);
  const status = await page.locator('main').innerText();
  for (const want of [
    /Samples stored\s+[\d.]+[\s\S]*\/s/,
    /Resident memory\s+\d+ MiB[\s\S]*of \d/,
    /Senders[\s\S]*remote_write/,
    /listen-address/,
    /Secrets come from files/,
  ])
    t.match(status, want);
  await page.screenshot({ path: join(ARTEFACTS, 'status-phone.png') });
  await page.keyboard.press('1');
  await page.getByRole('link', { name: 'shop/checkout' }).waitFor();
  await page.screenshot({ path: join(ARTEFACTS, 'scaling-phone.png') });
  for (const path of ['/', '/query?g0.expr=orders_total', '/cardinality', '/status']) {
    await page.goto(path);
    await page.locator('main h1').waitFor();
    const wider = await page.evaluate('document.documentElement.scrollWidth - innerWidth');
    t.ok(Number(wider) <= 0, `${path} is no wider than the phone (${wider})`);
  }
  t.strictSame(faults, []);
});

test('policy, caching and what is not there', async (t) => {
  const daemon = await startDaemon();
  t.teardown(() => daemon.stop());
  const get = (path: string) => fetch(`http://${daemon.listen.web}${path}`);
  const page = await get('/query?g0.expr=up');
  t.equal(page.headers.get('content-type'), 'text/html; charset=utf-8');
  const policy = page.headers.get('content-security-policy')!;
  t.match(policy, "default-src 'none'");
  t.notMatch(policy, /unsafe|https?:/);
  t.equal(page.headers.get('cache-control'), 'no-cache');
  const script = /src="([^"]+)"/.exec(await page.text())![1]!;
  t.match((await get(script)).headers.get('cache-control'), 'immutable');
  for (const path of ['/assets/nothing.js', '/assets/..%2f..%2fmain.js', '/nothing'])
    t.equal((await get(path)).status, 404, path);
});
