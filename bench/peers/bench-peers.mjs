#!/usr/bin/env node
/**
 * Measures servers that take Prometheus remote-write and answer PromQL, side
 * by side, and prints Markdown tables of median (min–max). See README.md.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { Loader } from './lib/loader.mjs';
import { jobsOf } from './lib/queries.mjs';
import { markdown, Recorder, summarize } from './lib/record.mjs';
import { parseCount } from './lib/stats.mjs';
import * as suites from './lib/suites.mjs';
import { parseTarget, Target } from './lib/target.mjs';

const HELP = `bench-peers.mjs [options]
  --target name=url[,pid=N][,write=PATH][,api=PREFIX]   a running server (repeatable)
  --targets FILE    managed servers, which the harness starts and stops itself (repeatable; see targets.json)
  --only a,b        of those, only these
  --suites LIST     of ingest,query,fresh,start,restart,churn        [ingest,query,fresh,start,restart,churn]
  --sizes LIST      active series and steady rounds, e.g. 10k:100,100k:60,1M:20   [10k:100,100k:60,1M:20]
  --variants LIST   of base,shuffled,unique,fractional,decimal, for the ingest suite; see lib/dataset.mjs   [base]
  --query-size N    the size after which queries and restarts are measured      [1M]
  --loaded-rounds N rounds of paced ingest under the second query pass          [5]
  --fresh-loaded    also measure freshness under paced ingest of the query size
  --runs N          [3]         targets alternate within each run: A B A B
  --concurrency N   [4]
  --data DIR        [bench-peers in the system's temporary folder]   the managed servers' folders, emptied before each start
  --project DIR     [current folder]     what {project} stands for in a targets file
  --peers DIR       [peers in the current folder]   what {peers} stands for: where get-peers put them
  --out FILE.jsonl  raw records, appended as they are made
  --json FILE       summary
  --report          no measuring: print the tables of the record files given as arguments`;

const { values: o, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    target: { type: 'string', multiple: true, default: [] },
    targets: { type: 'string', multiple: true, default: [] },
    only: { type: 'string' },
    suites: { type: 'string', default: 'ingest,query,fresh,start,restart,churn' },
    sizes: { type: 'string', default: '10k:100,100k:60,1M:20' },
    variants: { type: 'string', default: 'base' },
    'query-size': { type: 'string', default: '1M' },
    'loaded-rounds': { type: 'string', default: '5' },
    'fresh-loaded': { type: 'boolean', default: false },
    runs: { type: 'string', default: '3' },
    concurrency: { type: 'string', default: '4' },
    data: { type: 'string', default: path.join(os.tmpdir(), 'bench-peers') },
    project: { type: 'string', default: '.' },
    peers: { type: 'string', default: 'peers' },
    out: { type: 'string' },
    json: { type: 'string' },
    report: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

function print(recorder) {
  console.log(markdown(recorder.records));
  if (o.json) fs.writeFileSync(o.json, `${JSON.stringify(summarize(recorder.records), null, 2)}\n`);
}

if (o.help) {
  console.log(HELP);
  process.exit(0);
}
if (o.report) {
  print(Recorder.load(positionals));
  process.exit(0);
}

fs.mkdirSync(o.data, { recursive: true });
const only = o.only?.split(',');
const specs = o.targets.flatMap((file) => {
  const here = path.dirname(path.resolve(file));
  return JSON.parse(fs.readFileSync(file, 'utf8')).map((spec) => ({
    ...spec,
    cmd: spec.cmd.map((arg) =>
      arg
        .replaceAll('{here}', here)
        .replaceAll('{project}', path.resolve(o.project))
        .replaceAll('{peers}', path.resolve(o.peers)),
    ),
  }));
});
const targets = [...specs.filter((s) => !only || only.includes(s.name)), ...o.target.map(parseTarget)].map(
  (spec) => new Target(spec, o.data),
);
if (targets.length === 0) throw new Error('no target; see --help');

const wanted = new Set(o.suites.split(','));
const applies = (target, suite) =>
  wanted.has(suite) &&
  (!target.suites || target.suites.includes(suite)) &&
  (target.managed || !['start', 'restart'].includes(suite));
const sizes = o.sizes.split(',').map((s) => {
  const [series, rounds] = s.split(':');
  return { series: parseCount(series), rounds: Number(rounds) };
});
const querySize = parseCount(o['query-size']);
const runs = Number(o.runs);
const record = new Recorder(o.out);
const log = (text) => console.error(`${new Date().toISOString().slice(11, 19)} ${text}`);

/** Runs `work` with a fresh server (when managed) and a dataset of its own. */
async function withServer(target, series, run, loader, work) {
  const ctx = { target, loader, record, run, jobs: jobsOf(series), concurrency: Number(o.concurrency) };
  try {
    await target.start();
    await work(ctx);
  } catch (error) {
    log(`${target.name}: ${error.stack}`);
    record.add(
      { suite: 'failure', scenario: `${series} series`, target: target.name, run },
      'error',
      String(error.message),
      '',
    );
  } finally {
    await target.stop('SIGTERM');
    target.clean();
  }
}

/** One pass over all targets with one dataset size, alternating, `runs` times. */
async function alternating(series, select, work, variant = 'base') {
  const chosen = targets.filter(select);
  if (chosen.length === 0) return;
  // an attached server keeps its series, so each of its runs takes a seed that names them anew
  const options = { series, variant, lanes: Number(o.concurrency) };
  let loader = new Loader({ ...options, seed: 1 });
  for (let run = 1; run <= runs; run++) {
    for (const target of chosen) {
      log(`run ${run} of ${runs}, ${series} series, ${variant}, ${target.name}`);
      if (target.managed) await loader.reset();
      else {
        await loader.close();
        loader = new Loader({ ...options, seed: (Date.now() % 4000) + 1 });
      }
      await withServer(target, series, run, loader, work);
    }
  }
  await loader.close();
}

if (wanted.has('start')) {
  for (let run = 1; run <= runs; run++) {
    for (const target of targets.filter((t) => applies(t, 'start'))) {
      log(`run ${run} of ${runs}, empty start, ${target.name}`);
      await suites.coldStart({ target, record, run });
      await target.stop();
      target.clean();
    }
  }
}

const any = (target, ...names) => names.some((name) => applies(target, name));
for (const { series, rounds } of sizes) {
  const isQuerySize = series === querySize;
  for (const variant of o.variants.split(',')) {
    const further = isQuerySize && variant === 'base';
    await alternating(
      series,
      (t) => any(t, 'ingest', ...(further ? ['query', 'restart'] : [])),
      async (ctx) => {
        const { target, loader } = ctx;
        const wantQueries = further && applies(target, 'query');
        if (wantQueries) await suites.backfill(ctx, { endTs: Date.now() - (rounds + 4) * 15_000 });
        let { lastTs } = await suites.ingest(ctx, { series, rounds, variant });
        if (wantQueries)
          ({ lastTs } = await suites.queries(ctx, { series, lastTs, loadedRounds: Number(o['loaded-rounds']) }));
        if (further && applies(target, 'restart')) {
          await suites.restart(ctx, { series, lastTs, expectedSum: await loader.expectedSum() });
        }
      },
      variant,
    );
  }
}

await alternating(
  100_000,
  (t) => applies(t, 'churn'),
  (ctx) => suites.churn(ctx, { series: 100_000, rounds: 20, fraction: 0.05 }),
);

await alternating(
  10_000,
  (t) => applies(t, 'fresh'),
  async (ctx) => {
    const { target, loader } = ctx;
    await loader.connect(target.url, { write: target.write, concurrency: ctx.concurrency });
    await loader.run({ rounds: 2, startTs: Date.now() - 60_000 });
    await suites.freshness(ctx, {});
  },
);

if (o['fresh-loaded']) {
  await alternating(
    querySize,
    (t) => applies(t, 'fresh'),
    async (ctx) => {
      const { target, loader } = ctx;
      await loader.connect(target.url, { write: target.write, concurrency: ctx.concurrency });
      await loader.run({ rounds: 1, startTs: Date.now() - 45_000 });
      let started = false;
      const load = loader.run({
        rounds: 4,
        startTs: Date.now() - 15_000,
        paceMs: 15_000,
        onStart: () => {
          started = true;
        },
      });
      while (!started) await new Promise((r) => setTimeout(r, 20));
      await suites.freshness(ctx, { state: `while ingesting ${Math.round(querySize / 15)} samples/s` });
      await load;
    },
  );
}

print(record);
process.exit(0);
