// biome-ignore-all lint/suspicious/noTemplateCurlyInString: a template of Go's regexp.Expand
/**
 * The same jobs, scraped by a real Prometheus and by the daemon: whatever is on a target, both end up with the same series, the
 * same values, and the same that has ended. And what was scraped outlives a SIGKILL.
 */
import { mkdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { startDaemon } from '../support/daemon.ts';
import { startProgram, temporaryFolder, waitForOutput } from '../support/process.ts';
import { skipWithout, startNodeExporter } from '../support/real-programs.ts';
import { OPEN_METRICS, startExporter, type TestExporter, text } from '../support/test-exporter.ts';
import { waitFor } from '../support/wait.ts';

const IN_TIME = { timeoutMs: 30_000 };

/** `{labels}` → value, of everything that has a value now. */
async function everything(web: string, query: string): Promise<Map<string, string>> {
  const reply = await fetch(`http://${web}/api/v1/query`, { method: 'POST', body: new URLSearchParams({ query }) });
  const { data } = (await reply.json()) as {
    data: { result: { metric: Record<string, string>; value: [number, string] }[] };
  };
  return new Map(
    data.result.map(({ metric, value }) => {
      const labels = Object.keys(metric)
        .sort()
        .map((name) => `${name}=${JSON.stringify(metric[name])}`);
      return [labels.join(','), value[1]];
    }),
  );
}

/** Prometheus as a server on a free port; its address. */
async function startPrometheus(t: Test, folder: string, scrapeConfigs: readonly object[]): Promise<string> {
  const config = join(folder, 'prometheus.yml');
  // JSON is YAML.
  await writeFile(
    config,
    JSON.stringify({ global: { scrape_interval: '1s', scrape_timeout: '1s' }, scrape_configs: scrapeConfigs }),
  );
  const program = await startProgram('prometheus', [
    `--config.file=${config}`,
    `--storage.tsdb.path=${join(folder, 'tsdb')}`,
    '--web.listen-address=127.0.0.1:0',
  ]);
  t.teardown(() => program.stop());
  const [, address] = await waitForOutput(program, /msg="Listening on" .*?address=(\S+)/, 20_000);
  return address!;
}

const FIRST = [
  '# HELP a Some.\n# TYPE a gauge\na{x="1"} 1.5\na{x="2",job="mine",exported_job="yours"} +Inf\na{empty="",x="3"} NaN\n',
  'b{path="C:\\\\x\\n\\"q\\"",instance="own"} -0.25\nskip_this 1\nskip_that{le="+Inf"} 2\nshort_lived 1\n',
].join('');
const SECOND = 'a{x="1"} 2\nb{path="/"} 7\nskip_this 2\n';

function jobs(plain: TestExporter, open: TestExporter, broken: TestExporter, node: string): readonly object[] {
  const target = ({ address }: TestExporter, labels: Record<string, string> = { zone: 'a', x: 'target' }): object => ({
    static_configs: [{ targets: [address], labels }],
  });
  return [
    { job_name: 'plain', ...target(plain), params: { module: ['one', 'two'] } },
    { job_name: 'honor', ...target(plain), honor_labels: true },
    {
      job_name: 'relabelled',
      ...target(plain, { tmp_region: 'eu', instance: 'named' }),
      relabel_configs: [
        { action: 'labelmap', regex: 'tmp_(.+)' },
        { action: 'labeldrop', regex: 'tmp_.*' },
        { source_labels: ['__address__'], regex: '(.+):(\\d+)', target_label: 'host', replacement: '$1' },
        { source_labels: ['__param_none', 'job'], target_label: 'shard', action: 'hashmod', modulus: 97 },
        { target_label: 'job', replacement: 'renamed-$0' },
      ],
      metric_relabel_configs: [
        { source_labels: ['__name__'], regex: 'skip_.*', action: 'drop' },
        { source_labels: ['__name__', 'x'], regex: 'a;(\\d)', target_label: 'number', replacement: 'n${1}' },
        { source_labels: ['exported_job'], regex: '', action: 'keep' },
        { source_labels: ['path'], target_label: 'path', action: 'uppercase' },
      ],
    },
    {
      job_name: 'dropped',
      ...target(plain),
      relabel_configs: [{ source_labels: ['zone'], regex: 'a', action: 'drop' }],
    },
    { job_name: 'open', ...target(open) },
    { job_name: 'broken', ...target(broken) },
    { job_name: 'limited', ...target(plain), sample_limit: 3 },
    { job_name: 'nobody', static_configs: [{ targets: ['127.0.0.1:1'] }] },
    { job_name: 'node', static_configs: [{ targets: [node] }] },
  ];
}

/** What depends on when a scrape was, or how long it took. */
const STEADY = '{job!="",__name__!~"scrape_duration_seconds|scrape_series_added|node_.*|go_.*|process_.*|promhttp_.*"}';

test('a Prometheus and the daemon scrape the same', {
  skip: skipWithout('prometheus', 'prometheus-node-exporter'),
}, async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const node = await startNodeExporter();
  t.teardown(() => node.stop());
  const plain = await startExporter(text(FIRST));
  const open = await startExporter(
    text('# TYPE c counter\nc_total{y="1"} 3\n# TYPE u info\nu_info{v="1"} 1\n# EOF\n', OPEN_METRICS),
  );
  const broken = await startExporter(text('fine 1\nnot fine at all\n'));
  for (const exporter of [plain, open, broken]) t.teardown(() => exporter.stop());
  const scrapeConfigs = jobs(plain, open, broken, node.address);
  const prometheus = await startPrometheus(t, folder.path, scrapeConfigs);
  const config = join(folder.path, 'tidegauge.yaml');
  const scrape = { scrape_interval: '1s', scrape_timeout: '1s', scrape_configs: scrapeConfigs };
  await writeFile(config, JSON.stringify({ scrape }));
  const { listen } = await startDaemon([`--config.file=${config}`]).then((daemon) => {
    t.teardown(() => daemon.stop());
    return daemon;
  });
  const agree = async (
    what: string,
    isRight: (theirs: Map<string, string>) => boolean,
    query = STEADY,
  ): Promise<void> => {
    const seen = { theirs: new Map<string, string>(), ours: new Map<string, string>() };
    const equal = async (): Promise<boolean> => {
      [seen.theirs, seen.ours] = await Promise.all([everything(prometheus, query), everything(listen.web, query)]);
      const [theirs, ours] = [[...seen.theirs].sort(), [...seen.ours].sort()];
      return isRight(seen.theirs) && JSON.stringify(theirs) === JSON.stringify(ours);
    };
    await waitFor(equal, { ...IN_TIME, what }).catch(() => undefined);
    t.ok(isRight(seen.theirs), `${what}: ${seen.theirs.size} series`);
    t.strictSame(Object.fromEntries([...seen.ours].sort()), Object.fromEntries([...seen.theirs].sort()), what);
  };
  const count = (all: Map<string, string>, part: string): number =>
    [...all.keys()].filter((key) => key.includes(part)).length;
  await agree('at first', (all) => count(all, '__name__="up"') === 8 && count(all, '"short_lived"') === 3);
  const names = async (web: string): Promise<string[]> => [...(await everything(web, '{job="node"}')).keys()].sort();
  const series = await names(listen.web);
  t.ok(series.length > 100, `${series.length} series of the node exporter`);
  t.strictSame(series, await names(prometheus), 'of a real exporter the same series');

  plain.answer = text(SECOND);
  open.answer = (_request, response) => response.writeHead(503).end();
  await agree('after a change', (all) => count(all, '"short_lived"') === 0 && count(all, '"c_total"') === 0);
  plain.answer = text(FIRST);
  // Prometheus 2 leaves those series without a stale marker that it read before it came to the limit.
  await agree('as before', (all) => count(all, '"short_lived"') === 3, `${STEADY} unless {job="limited",__name__="a"}`);

  const targets = async (web: string) => {
    const { data } = (await (await fetch(`http://${web}/api/v1/targets`)).json()) as {
      data: { activeTargets: Record<string, unknown>[]; droppedTargets: { discoveredLabels: object }[] };
    };
    const steady = data.activeTargets.map(
      ({ scrapePool, scrapeUrl, health, labels, discoveredLabels, scrapeInterval, scrapeTimeout }) => {
        return { scrapePool, scrapeUrl, health, labels, discoveredLabels, scrapeInterval, scrapeTimeout };
      },
    );
    const by = (one: { scrapePool: unknown }): string => String(one.scrapePool);
    return {
      active: steady.sort((a, b) => (by(a) < by(b) ? -1 : 1)),
      dropped: data.droppedTargets.map(({ discoveredLabels }) => discoveredLabels),
    };
  };
  t.strictSame(await targets(listen.web), await targets(prometheus), 'and they show their targets alike');
});

test('what was scraped, and what has ended, outlives a SIGKILL', async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const data = join(folder.path, 'data');
  mkdirSync(data);
  const exporter = await startExporter(text('kept 1\ngone 1\n'));
  t.teardown(() => exporter.stop());
  const config = join(folder.path, 'tidegauge.yaml');
  const targets = [{ targets: [exporter.address] }];
  const scrape = { scrape_interval: '200ms', scrape_configs: [{ job_name: 'j', static_configs: targets }] };
  await writeFile(config, JSON.stringify({ scrape }));
  const flags = [`--storage.path=${data}`, '--storage.log-fsync=always'];
  const first = await startDaemon([...flags, `--config.file=${config}`]);
  t.teardown(() => first.stop());
  const values = async (web: string): Promise<string[]> => [
    ...(await everything(web, '{__name__=~"kept|gone"}')).keys(),
  ];
  await waitFor(async () => (await values(first.listen.web)).length === 2, { ...IN_TIME, what: 'both series' });
  exporter.answer = text('kept 2\n');
  await waitFor(async () => (await values(first.listen.web)).length === 1, { ...IN_TIME, what: 'one to end' });
  // Nobody is told that a scrape is safe, so there is nothing that waits for it but this.
  const logged = async (): Promise<boolean> => {
    const metrics = await (await fetch(`http://${first.listen.web}/metrics`)).text();
    return /^tidegauge_log_pending_bytes 0$/m.test(metrics);
  };
  await waitFor(logged, { ...IN_TIME, what: 'the log to be written' });
  process.kill(first.pid, 'SIGKILL');
  await waitFor(() => first.ended(), { ...IN_TIME, what: 'the daemon to end' });
  const again = await startDaemon(flags);
  t.teardown(() => again.stop());
  const instance = exporter.address;
  t.strictSame(await values(again.listen.web), [`__name__="kept",instance="${instance}",job="j"`]);
  const past = await everything(again.listen.web, 'count_over_time(gone[5m]) > 0');
  t.equal(past.size, 1, 'its samples of before are there');
});
