/** The built daemon scrapes exporters over real sockets, as its configuration file says, and shows what came of it. */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import { generateCertificate } from '../../src/api/kubernetes/certificate.ts';
import { type Daemon, startDaemon } from '../support/daemon.ts';
import {
  type Answer,
  gzipped,
  OPEN_METRICS,
  silent,
  startExporter,
  type TestExporter,
  text,
} from '../support/test-exporter.ts';
import { waitFor } from '../support/wait.ts';

const IN_TIME = { timeoutMs: 20_000 };

interface Cleanup {
  teardown(run: () => unknown): void;
}

interface Bench {
  readonly daemon: Daemon;
  readonly folder: string;
  /** Writes the configuration anew and tells the daemon. */
  configure(yaml: string): void;
}

async function benchOf(t: Cleanup, yaml: string, files: Readonly<Record<string, string>> = {}): Promise<Bench> {
  const folder = mkdtempSync(join(tmpdir(), 'tidegauge-scrape-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  const path = join(folder, 'tidegauge.yaml');
  writeFileSync(path, yaml);
  const daemon = await startDaemon([`--config.file=${path}`]);
  t.teardown(() => daemon.stop());
  const configure = (text: string): void => {
    // In one step, as kubelet does it.
    writeFileSync(`${path}.new`, text);
    renameSync(`${path}.new`, path);
    process.kill(daemon.pid, 'SIGHUP');
  };
  return { daemon, folder, configure };
}

async function exporterOf(t: Cleanup, answer: Answer): Promise<TestExporter> {
  const exporter = await startExporter(answer);
  t.teardown(() => exporter.stop());
  return exporter;
}

/** `{labels}` → value of an instant query. */
async function query({ daemon }: Bench, expression: string): Promise<Record<string, string>> {
  const url = `http://${daemon.listen.web}/api/v1/query?query=${encodeURIComponent(expression)}`;
  const { data } = (await (await fetch(url)).json()) as {
    data: { result: { metric: Record<string, string>; value: [number, string] }[] };
  };
  return Object.fromEntries(data.result.map(({ metric, value }) => [labelsOf(metric), value[1]]));
}

function labelsOf(metric: Record<string, string>): string {
  const names = Object.keys(metric).sort();
  return names.map((name) => `${name}=${metric[name]}`).join(',');
}

interface ShownTarget {
  readonly health: string;
  readonly lastError: string;
  readonly lastScrape: string;
  readonly scrapeUrl: string;
  readonly scrapePool: string;
  readonly scrapeInterval: string;
  readonly scrapeTimeout: string;
  readonly labels: Record<string, string>;
  readonly discoveredLabels: Record<string, string>;
}

async function targets(
  { daemon }: Bench,
  parameters = '',
): Promise<{
  readonly activeTargets: readonly ShownTarget[];
  readonly droppedTargets: readonly { readonly discoveredLabels: Record<string, string> }[];
  readonly droppedTargetCounts: Record<string, number>;
}> {
  const reply = await fetch(`http://${daemon.listen.web}/api/v1/targets${parameters}`);
  return ((await reply.json()) as { data: Awaited<ReturnType<typeof targets>> }).data;
}

async function ownMetric({ daemon }: Bench, line: RegExp): Promise<number> {
  const text = await (await fetch(`http://${daemon.listen.web}/metrics`)).text();
  return Number(line.exec(text)?.[1] ?? Number.NaN);
}

const job = (name: string, address: string, more = ''): string =>
  `    - job_name: ${name}\n      static_configs: [{targets: ['${address}'], labels: {zone: a}}]\n${more}`;
const config = (...jobs: string[]): string =>
  `scrape:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  scrape_configs:\n${jobs.join('')}`;

test('text, OpenMetrics and gzip come in whole, with the labels of their target', async (t) => {
  const plain = await exporterOf(t, text('# TYPE a gauge\na{x="1"} 2\na{job="own",zone="b"} 3\n'));
  const open = await exporterOf(t, text('# TYPE b counter\nb_total 5 # {trace_id="t"} 1\n# EOF\n', OPEN_METRICS));
  const packed = await exporterOf(t, gzipped('c 7\n'));
  const honor = '      honor_labels: true\n      params: {collect: [x, y]}\n      metrics_path: /probe?z=1\n';
  const bench = await benchOf(
    t,
    config(
      job('plain', plain.address),
      job('open', open.address),
      job('packed', packed.address),
      job('honor', plain.address, honor),
    ),
  );
  const found = await waitFor(
    async () => {
      const all = await query(bench, '{__name__=~"a|b_total|c"}');
      return Object.keys(all).length === 6 && all;
    },
    { ...IN_TIME, what: 'six series' },
  );
  const at = ({ address }: TestExporter): string => `instance=${address}`;
  t.strictSame(found, {
    [`__name__=a,${at(plain)},job=plain,x=1,zone=a`]: '2',
    [`__name__=a,exported_job=own,exported_zone=b,${at(plain)},job=plain,zone=a`]: '3',
    [`__name__=a,${at(plain)},job=honor,x=1,zone=a`]: '2',
    [`__name__=a,${at(plain)},job=own,zone=b`]: '3',
    [`__name__=b_total,${at(open)},job=open,zone=a`]: '5',
    [`__name__=c,${at(packed)},job=packed,zone=a`]: '7',
  });
  const [asked] = plain.requests;
  t.match(asked?.headers, {
    'accept-encoding': 'gzip',
    'user-agent': /^Tidegauge\//,
    'x-prometheus-scrape-timeout-seconds': '1',
  });
  t.match(asked?.headers.accept, /^application\/openmetrics-text/);
  t.ok(
    plain.requests.some(({ url }) => url === '/probe?z=1&collect=x&collect=y'),
    'parameters go along',
  );

  const own = await query(bench, '{__name__=~"up|scrape_.*",job="plain"}');
  const { [`__name__=scrape_duration_seconds,${at(plain)},job=plain,zone=a`]: seconds, ...rest } = own;
  t.ok(Number(seconds) > 0 && Number(seconds) < 5, `a scrape takes ${seconds} s`);
  t.strictSame(rest, {
    [`__name__=up,${at(plain)},job=plain,zone=a`]: '1',
    [`__name__=scrape_samples_scraped,${at(plain)},job=plain,zone=a`]: '2',
    [`__name__=scrape_samples_post_metric_relabeling,${at(plain)},job=plain,zone=a`]: '2',
    [`__name__=scrape_series_added,${at(plain)},job=plain,zone=a`]:
      rest[`__name__=scrape_series_added,${at(plain)},job=plain,zone=a`]!,
  });
  const { activeTargets } = await targets(bench, '?scrapePool=plain');
  t.match(activeTargets, [
    {
      health: 'up',
      lastError: '',
      scrapeUrl: `http://${plain.address}/metrics`,
      scrapePool: 'plain',
      scrapeInterval: '1s',
      scrapeTimeout: '1s',
      labels: { instance: plain.address, job: 'plain', zone: 'a' },
      discoveredLabels: { __address__: plain.address, __metrics_path__: '/metrics', __scheme__: 'http', job: 'plain' },
    },
  ]);
  t.ok(Math.abs(Date.parse(activeTargets[0]!.lastScrape) - Date.now()) < 20_000, 'and when it was scraped last');
  const pools = await (await fetch(`http://${bench.daemon.listen.web}/api/v1/scrape_pools`)).json();
  t.strictSame(pools, { status: 'success', data: { scrapePools: ['honor', 'open', 'packed', 'plain'] } });
  const yaml = await (await fetch(`http://${bench.daemon.listen.web}/api/v1/status/config`)).text();
  t.match(yaml, /job_name: packed/);
});

test('what a target does not send any more ends, and everything ends when it cannot be scraped', async (t) => {
  const exporter = await exporterOf(t, text('kept 1\ngone{a="1"} 1\ngone{a="2"} 1\n'));
  const bench = await benchOf(t, config(job('one', exporter.address)));
  const names = async (): Promise<string[]> => {
    const all = await query(bench, '{__name__=~"kept|gone|new|up"}');
    return Object.entries(all)
      .map(([labels, value]) => `${/__name__=(\w+)/.exec(labels)![1]} ${value}`)
      .sort();
  };
  const see = (want: readonly string[]): Promise<unknown> =>
    waitFor(async () => JSON.stringify(await names()) === JSON.stringify(want), { ...IN_TIME, what: want.join() });
  await see(['gone 1', 'gone 1', 'kept 1', 'up 1']);
  exporter.answer = text('kept 2\nnew 1\ngone{a="2"} 3\n');
  await see(['gone 3', 'kept 2', 'new 1', 'up 1']);
  // The lookback would show them for five minutes: it is the stale marker that ends them.
  exporter.answer = (_request, response) => response.writeHead(500).end();
  await see(['up 0']);
  const { activeTargets } = await targets(bench);
  t.match(activeTargets, [{ health: 'down', lastError: 'server returned HTTP status 500' }]);
  exporter.answer = text('kept 5\n');
  await see(['kept 5', 'up 1']);
  const count = (await query(bench, 'count_over_time(gone{a="2"}[5m])'))[
    `a=2,instance=${exporter.address},job=one,zone=a`
  ];
  t.ok(Number(count) >= 2, 'its samples of before are still there');
  const warnings = bench.daemon.logs().filter(({ event, state }) => event === 'scrape' && state === 'status');
  t.equal(warnings.length, 1, 'the log says it once');
  t.ok((await ownMetric(bench, /^tidegauge_scrapes_total\{outcome="status"\} (\d+)$/m)) >= 1);
});

test('a target that fails is down with its reason, and delays nobody', async (t) => {
  const slow = await exporterOf(t, silent);
  const broken = await exporterOf(t, text('a 1\nthis is no metric\n'));
  const cut = await exporterOf(t, text('a 1\n', OPEN_METRICS));
  const large = await exporterOf(t, text(`a 1\n${'# a long comment\n'.repeat(100)}`));
  const bomb = await exporterOf(t, gzipped('# zeros\n'.repeat(5000)));
  const many = await exporterOf(t, text('a 1\nb 2\nc 3\n'));
  const garbage = await exporterOf(t, (_request, response) => {
    response.writeHead(200, { 'content-encoding': 'gzip' });
    response.end('no gzip');
  });
  const far = await exporterOf(t, (_request, response) =>
    response.writeHead(302, { location: 'http://127.0.0.1:1/metrics' }).end(),
  );
  const near = await exporterOf(t, (request, response) => {
    if (request.url === '/metrics') response.writeHead(307, { location: '/metrics/' }).end();
    else response.end('near 1\n');
  });
  const quick = await exporterOf(t, text('quick 1\n'));
  const closed = await startExporter(silent);
  await closed.stop();
  const limit = '      body_size_limit: 1KB\n';
  const bench = await benchOf(
    t,
    config(
      ...Array.from({ length: 20 }, (_, i) => job(`slow${i}`, slow.address)),
      job('broken', broken.address),
      job('cut', cut.address),
      job('large', large.address, limit),
      job('bomb', bomb.address, limit),
      job('many', many.address, '      sample_limit: 2\n'),
      job('garbage', garbage.address),
      job('far', far.address),
      job('near', near.address),
      job('closed', closed.address),
      job('quick', quick.address),
    ),
  );
  const reasons: Readonly<Record<string, RegExp>> = {
    slow0: /did not answer within 1s/,
    broken: /line 2: want a value: "this is no metric"/,
    cut: /does not end with # EOF/,
    large: /the body exceeds 1024 bytes/,
    bomb: /the body exceeds 1024 bytes/,
    many: /got 3 samples, want at most 2/,
    garbage: /cannot decompress the body/,
    far: /redirect to http:\/\/127.0.0.1:1/,
    closed: /ECONNREFUSED/,
  };
  let active: readonly ShownTarget[] = [];
  const settled = async (): Promise<boolean> => {
    active = (await targets(bench)).activeTargets;
    const of = (pool: string): ShownTarget => active.find(({ scrapePool }) => scrapePool === pool)!;
    const isDown = Object.entries(reasons).every(([pool, reason]) => reason.test(of(pool).lastError));
    return isDown && of('near').health === 'up' && Object.keys(await query(bench, 'up == 1')).length === 2;
  };
  await waitFor(settled, { ...IN_TIME, what: 'every target to be as it is' }).catch(() => undefined);
  for (const [pool, reason] of Object.entries(reasons)) {
    const target = active.find(({ scrapePool }) => scrapePool === pool);
    t.equal(target?.health, 'down', pool);
    t.match(target?.lastError, reason, pool);
  }
  const redirected = active.find(({ scrapePool }) => scrapePool === 'near');
  t.equal(redirected?.health, 'up', 'a redirect to the same address is followed');
  t.strictSame(await query(bench, 'a'), {}, 'of a scrape that fails nothing is kept');
  const before = quick.requests.length;
  // Twenty that hang for a second each, one after the other, would take a hundred seconds for this.
  await waitFor(() => quick.requests.length >= before + 5, { ...IN_TIME, what: 'five more scrapes of who is well' });
  t.ok((await ownMetric(bench, /^tidegauge_scrapes_total\{outcome="timeout"\} (\d+)$/m)) >= 20);
});

test('a changed file adds and removes targets, and touches no others', async (t) => {
  const [stays, leaves, comes] = [
    await exporterOf(t, text('s 1\n')),
    await exporterOf(t, text('l 1\n')),
    await exporterOf(t, text('c 1\n')),
  ];
  const bench = await benchOf(t, config(job('stays', stays.address), job('leaves', leaves.address)));
  const see = (expression: string, count: number): Promise<unknown> =>
    waitFor(async () => Object.keys(await query(bench, expression)).length === count, { ...IN_TIME, what: expression });
  await see('s or l', 2);
  const state = '      static_configs: oops\n';
  bench.configure(config(job('stays', stays.address, state)));
  await waitFor(
    () =>
      bench.daemon
        .logs()
        .some(({ event, msg }) => event === 'scrape_config' && /last good one stays/.test(String(msg))),
    {
      ...IN_TIME,
      what: 'a configuration that cannot be used to be refused',
    },
  );
  await see('s or l', 2);
  const sockets = new Set(stays.requests.map(({ socket }) => socket));
  bench.configure(config(job('stays', stays.address), job('comes', comes.address)));
  await see('c', 1);
  await see('l or up{job="leaves"}', 0);
  await see('up == 1', 2);
  const again = stays.requests.length + 2;
  await waitFor(() => stays.requests.length >= again, { ...IN_TIME, what: 'two more scrapes' });
  t.ok(
    stays.requests.slice(-2).every(({ socket }) => sockets.has(socket)),
    'its connection is the one of before',
  );
  t.strictSame(await query(bench, 'resets(s[5m])'), { [`instance=${stays.address},job=stays,zone=a`]: '0' });
  t.equal(await ownMetric(bench, /^tidegauge_scrape_config_reloads_total\{outcome="applied"\} (\d+)$/m), 1);
  t.equal(await ownMetric(bench, /^tidegauge_scrape_config_reloads_total\{outcome="refused"\} (\d+)$/m), 1);
  bench.configure('scrape:\n');
  await see('up', 0);
  t.strictSame((await targets(bench)).activeTargets, []);
});

test('targets are relabelled, and so are their series', async (t) => {
  const exporter = await exporterOf(t, text('keep_a{x="1"} 1\nkeep_b 2\nskip 3\n'));
  const rules = [
    '      relabel_configs:',
    '        - {source_labels: [__address__], regex: "localhost.*", action: drop}',
    '        - {source_labels: [zone], target_label: region, replacement: "eu-$1"}',
    '        - {regex: zone, action: labeldrop}',
    '      metric_relabel_configs:',
    '        - {source_labels: [__name__], regex: "skip.*", action: drop}',
    '        - {source_labels: [x], regex: (.+), target_label: y}',
    '',
  ].join('\n');
  const bench = await benchOf(
    t,
    `${config(job('one', exporter.address, rules))}`.replace(/targets: \[/, "targets: ['localhost:1', "),
  );
  const found = await waitFor(
    async () => {
      const all = await query(bench, '{__name__=~"keep.*|skip|scrape_samples.*"}');
      return Object.keys(all).length >= 4 && all;
    },
    { ...IN_TIME, what: 'series' },
  );
  const own = `instance=${exporter.address},job=one,region=eu-a`;
  t.strictSame(found, {
    [`__name__=keep_a,${own},x=1,y=1`]: '1',
    [`__name__=keep_b,${own}`]: '2',
    [`__name__=scrape_samples_scraped,${own}`]: '3',
    [`__name__=scrape_samples_post_metric_relabeling,${own}`]: '2',
  });
  const { droppedTargets, droppedTargetCounts, activeTargets } = await targets(bench);
  t.strictSame(droppedTargetCounts, { one: 1 });
  t.match(droppedTargets, [{ discoveredLabels: { __address__: 'localhost:1', zone: 'a' } }]);
  t.equal(activeTargets.length, 1);
  t.strictSame((await targets(bench, '?state=dropped')).activeTargets, []);
  t.strictSame((await targets(bench, '?state=active')).droppedTargets, []);
  t.equal((await fetch(`http://${bench.daemon.listen.web}/api/v1/targets?state=x`)).status, 400);
});

test('TLS and credentials, from files that are rotated', async (t) => {
  const { certPem, keyPem, caPem } = generateCertificate(['127.0.0.1', 'localhost'], Date.now());
  const seen: (string | undefined)[] = [];
  const secure = await startExporter(
    (request, response) => {
      seen.push(request.headers.authorization);
      response.end('a 1\n');
    },
    { cert: certPem, key: keyPem },
  );
  t.teardown(() => secure.stop());
  const tls = (more: string): string => `      scheme: https\n      tls_config: {ca_file: ca.pem}\n${more}`;
  const bench = await benchOf(
    t,
    config(
      job('token', secure.address, tls('      authorization: {credentials_file: token}\n')),
      job('basic', secure.address, tls('      basic_auth: {username: u, password: geheim}\n')),
      job('unknown', secure.address, '      scheme: https\n'),
      job('careless', secure.address, '      scheme: https\n      tls_config: {insecure_skip_verify: true}\n'),
    ),
    { 'ca.pem': caPem!, token: 'first\n' },
  );
  let ups: Record<string, string> = {};
  const settled = async (): Promise<boolean> => {
    ups = await query(bench, 'up');
    return Object.values(ups).sort().join() === '0,1,1,1';
  };
  await waitFor(settled, { ...IN_TIME, what: 'four targets' });
  const up = (name: string): string | undefined => ups[`__name__=up,instance=${secure.address},job=${name},zone=a`];
  t.strictSame(['token', 'basic', 'careless', 'unknown'].map(up), ['1', '1', '1', '0']);
  t.ok(seen.includes('Bearer first'));
  t.ok(seen.includes(`Basic ${Buffer.from('u:geheim').toString('base64')}`));
  writeFileSync(join(bench.folder, 'token'), 'second\n');
  await waitFor(() => seen.includes('Bearer second'), { ...IN_TIME, what: 'the new token' });
  const yaml = await (await fetch(`http://${bench.daemon.listen.web}/api/v1/status/config`)).text();
  t.notMatch(yaml, /geheim/, 'a password is not shown');
  t.match(yaml, /<secret>/);
});
