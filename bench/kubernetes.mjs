/**
 * The Kubernetes surface of the whole daemon, over TLS as kube-apiserver asks it: as many external metrics by an adapter
 * rule as there are series, one that is the sum of fifty, and discovery of all of them; alone, and beside remote write
 * without pause. Clients are here, the load of samples comes from a worker thread.
 *
 *     node bench/kubernetes.mjs '{"series":10000,"rounds":5,"runs":1}'
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Loader } from './peers/lib/loader.mjs';
import { cpuTotal } from './peers/lib/proc.mjs';
import { quantile } from './peers/lib/stats.mjs';
import { daemonCore, flood, startDaemon } from './support/daemon.mjs';
import { printRuns } from './support/rows.mjs';

const GROUP = '/apis/external.metrics.k8s.io/v1beta1';
const RULES = `
externalRules:
- seriesQuery: '{__name__=~"depth.*",namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>})
`;
const SUMMED = 50;
const FLOOD_SERIES = 100_000;
const FLOOD_WARM_MS = 3000;
const LANES = 4;
const PROBE_MS = 20;
const DISCOVERY_MS = 250;
/** What is reckoned: so many HPAs, each asking every so many seconds. */
const HPAS = 1000;
const HPA_SECONDS = 15;
/** Before and while it is counted: a daemon that runs for weeks is compiled. */
const WARM_TURNS = 6;
const TURNS = 10;

const core = daemonCore();
const options = JSON.parse(process.argv[2]);
const { series, rounds } = options;
/** Of the run that is under way. */
let record;
await printRuns('kubernetes', options, (into) => {
  record = into;
  return withDaemon();
});

async function withDaemon() {
  const folder = mkdtempSync(join(tmpdir(), 'tidegauge-bench-'));
  const rules = join(folder, 'adapter.yaml');
  writeFileSync(rules, RULES);
  const flags = [`--kubernetes.adapter-config=${rules}`, `--kubernetes.cert-dir=${folder}`, '--kubernetes.auth=none'];
  const daemon = await startDaemon(['web', 'kubernetes'], flags, core);
  const ask = asker(daemon.listen.kubernetes, readFileSync(join(folder, 'ca.crt'), 'utf8'));
  const loader = new Loader({ series: FLOOD_SERIES, variant: 'base', lanes: LANES });
  try {
    await fill(daemon);
    await check(ask);
    await hpas(daemon, ask);
    await probe(ask, 'alone');
    await loader.connect(`http://${daemon.listen.web}`, { concurrency: LANES });
    const load = flood(loader);
    // Its series are known by then: each new one is a change of the catalog.
    await sleep(FLOOD_WARM_MS);
    await probe(ask, 'beside ingest without pause');
    await load.stop();
  } finally {
    ask.close();
    await loader.close();
    daemon.child.kill('SIGTERM');
    rmSync(folder, { recursive: true, force: true });
  }
}

async function fill({ listen }) {
  const at = Date.now();
  const lines = Array.from({ length: series }, (_, i) => `depth_${i}{namespace="shop"} 7 ${at}\n`);
  for (let pod = 0; pod < SUMMED; pod++) lines.push(`depth{namespace="shop",pod="web-${pod}"} 3 ${at}\n`);
  const url = `http://${listen.web}/api/v1/import/prometheus`;
  const reply = await fetch(url, { method: 'POST', body: lines.join('') });
  if (!reply.ok) throw new Error(`cannot send samples: got status ${reply.status} ${await reply.text()}`);
}

async function check(ask) {
  const expect = (what, got, want) => {
    if (got !== want) throw new Error(`wrong answer for ${what}: got ${got}, want ${want}`);
  };
  const valuesOf = async (name) =>
    JSON.parse(await ask(`${GROUP}/namespaces/shop/${name}`)).items.map(({ value }) => value);
  expect('one series', String(await valuesOf('depth_0')), '7');
  expect('the sum', String(await valuesOf('depth')), String(3 * SUMMED));
  // Beside those there is the sum, and the name that kubectl needs to print any of them.
  expect('metrics in discovery', JSON.parse(await ask(GROUP)).resources.length, series + 2);
}

/** The share of a core that HPAs cost which each ask for another metric, once they have asked before. */
async function hpas(daemon, ask) {
  const turn = async () => {
    for (let i = 0; i < HPAS; i++) await ask(`${GROUP}/namespaces/shop/depth_${i % series}`);
  };
  for (let k = 0; k < WARM_TURNS; k++) await turn();
  const before = cpuTotal(daemon.child.pid);
  for (let k = 0; k < TURNS; k++) await turn();
  const cpuSeconds = (cpuTotal(daemon.child.pid) - before) / TURNS;
  record('CPU a reply', 'µs', (cpuSeconds / HPAS) * 1e6);
  record(`${HPAS} HPAs at ${HPA_SECONDS} s`, '% of a core', (100 * cpuSeconds) / HPA_SECONDS);
}

/** Questions at fixed times, whether or not earlier ones are answered. */
async function probe(ask, name) {
  const taken = { one: [], sum: [], discovery: [] };
  const pending = [];
  const put = (kind, path) => {
    const sent = performance.now();
    pending.push(ask(path).then(() => taken[kind].push(performance.now() - sent)));
  };
  const began = performance.now();
  for (let next = began, i = 0; next < began + rounds * 1000; next += PROBE_MS, i++) {
    put('one', `${GROUP}/namespaces/shop/depth_${(i * 31) % series}`);
    if (i % 2 === 1) put('sum', `${GROUP}/namespaces/shop/depth`);
    if (i % (DISCOVERY_MS / PROBE_MS) < 1) put('discovery', GROUP);
    await sleep(Math.max(0, next + PROBE_MS - performance.now()));
  }
  await Promise.all(pending);
  for (const [kind, what] of [
    ['one', 'reply, one series'],
    ['sum', `reply, sum of ${SUMMED} series`],
    ['discovery', 'discovery of every metric'],
  ]) {
    record(`${what}, ${name}, p50`, 'ms', quantile(taken[kind], 0.5));
    record(`${what}, ${name}, p99`, 'ms', quantile(taken[kind], 0.99));
  }
}

/** Over a few connections that are kept. */
function asker(address, ca) {
  const { hostname, port } = new URL(`https://${address}`);
  const agent = new Agent({ keepAlive: true, maxSockets: LANES });
  const ask = (path) =>
    new Promise((resolve, reject) => {
      const sent = request({ hostname, port, path, ca, agent }, (response) => {
        const parts = [];
        response.on('data', (part) => parts.push(part));
        response.on('error', reject);
        response.on('end', () => {
          const text = Buffer.concat(parts).toString('utf8');
          if (response.statusCode === 200) resolve(text);
          else reject(new Error(`wrong answer: got ${response.statusCode} ${text}`));
        });
      });
      sent.on('error', reject).end();
    });
  return Object.assign(ask, { close: () => agent.destroy() });
}
