/** Selecting series by matchers: from the matchers to a Selection, no sample read. */

import { labelsKey, labelsToObject } from '../src/model/labels.ts';
import type { Matcher } from '../src/model/matcher.ts';
import { SampleBuffer } from '../src/model/sample.ts';
import { SCOPE_ALL } from '../src/model/scope.ts';
import type { Selection } from '../src/tsdb/head.ts';
import type { BenchOptions } from './main.ts';
import { INTERVAL_MS, Load, send } from './support/load.ts';
import { expectEqual, expectNear, type Row, row, wallMillis } from './support/measure.ts';
import { openStore, type Store } from './support/store.ts';

type LabelSet = Readonly<Record<string, string>>;

interface Case {
  readonly name: string;
  readonly selector: string;
  /** The same question in plain JavaScript. */
  readonly holds: (labels: LabelSet) => boolean;
}

const CASES: readonly Case[] = [
  {
    name: '10k series by metric and job',
    selector: 'http_requests_total{job="api-10k"}',
    holds: (labels) => labels.__name__ === 'http_requests_total' && labels.job === 'api-10k',
  },
  {
    name: 'by metric and method (256k of 1M)',
    selector: 'http_requests_total{method="GET"}',
    holds: (labels) => labels.__name__ === 'http_requests_total' && labels.method === 'GET',
  },
  {
    name: 'by two regular expressions, cached',
    selector: 'http_requests_total{namespace=~"team-.*-1[0-9]",status=~"5.."}',
    holds: (labels) =>
      labels.__name__ === 'http_requests_total' &&
      /^team-.*-1[0-9]$/.test(labels.namespace ?? '') &&
      /^5..$/.test(labels.status ?? ''),
  },
  {
    name: 'by a regular expression on pod, cached',
    selector: '{pod=~"svc-000[0-4]-.+[0-9]"}',
    holds: (labels) => /^svc-000[0-4]-.+[0-9]$/.test(labels.pod ?? ''),
  },
  {
    name: 'by metric, all but one status',
    selector: 'http_requests_total{status!="200"}',
    holds: (labels) => labels.__name__ === 'http_requests_total' && labels.status !== '200',
  },
];

export async function select({ series, runs }: BenchOptions): Promise<Row[]> {
  const load = new Load({ series });
  const store = await openStore(series);
  send(store, load.encodeRound());
  send(store, load.encodeRound());
  const wanted = bruteForce(load);

  const rows: Row[] = [];
  const ask = (matchers: readonly Matcher[]): Selection =>
    store.head.select({ matchers, fromMs: load.endMs - 2 * INTERVAL_MS, toMs: load.endMs, scope: SCOPE_ALL });
  for (const [k, { name, selector }] of CASES.entries()) {
    const matchers = store.engine.parseSelector(selector);
    check(name, ask(matchers), wanted[k]!);
    rows.push(
      row(name, 'ms', series, await wallMillis(() => ask(matchers).close(), { runsMin: runs, totalMsMin: 300 })),
    );
  }
  rows.push(await neverAsked(store, ask, series, runs));
  return rows;
}

/** Each run asks a regular expression that no cache has seen. */
async function neverAsked(
  store: Store,
  ask: (matchers: readonly Matcher[]) => Selection,
  series: number,
  runs: number,
): Promise<Row> {
  const expected = ask(store.engine.parseSelector(CASES[3]!.selector)).count;
  let asked = 0;
  const work = () => {
    const selection = ask(store.engine.parseSelector(`{pod=~"svc-000[0-4]-.+[0-9]|never-${asked++}"}`));
    expectEqual('a regular expression never asked before', selection.count, expected);
    selection.close();
  };
  const times = await wallMillis(work, { runsMin: runs, totalMsMin: 300 });
  return row('by a regular expression on pod, never asked before', 'ms', series, times);
}

interface Wanted {
  count: number;
  sum: number;
  /** Identities, as far as there are few. */
  readonly keys: Set<string>;
}

const KEYS_MAX = 20_000;

/** Every question asked of every series, one by one. */
function bruteForce({ dataset }: Load): Wanted[] {
  const wanted = CASES.map((): Wanted => ({ count: 0, sum: 0, keys: new Set() }));
  const values = dataset.values();
  for (let i = 0; i < dataset.series; i++) {
    const flat = dataset.labelsOf(i);
    const labels = labelsToObject(flat);
    for (const [k, { holds }] of CASES.entries()) {
      if (!holds(labels)) continue;
      const found = wanted[k]!;
      found.count++;
      found.sum += values[i]!;
      if (found.keys.size < KEYS_MAX) found.keys.add(labelsKey(flat));
    }
  }
  return wanted;
}

/** Throws unless a selection has the series wanted: their number, their newest values' sum, their labels if few. */
function check(name: string, selection: Selection, wanted: Wanted): void {
  if (wanted.count === 0) throw new Error(`cannot time ${name}: the dataset has no such series`);
  expectEqual(`${name}: series`, selection.count, wanted.count);
  const buffer = new SampleBuffer(16);
  let sum = 0;
  for (let i = 0; i < selection.count; i++) {
    const count = selection.read(i, 0, Number.MAX_SAFE_INTEGER, buffer);
    sum += buffer.values[count - 1]!;
    if (wanted.count > KEYS_MAX) continue;
    expectEqual(`${name}: labels`, wanted.keys.has(labelsKey(selection.labels(i))), true);
  }
  expectNear(`${name}: newest values`, sum, wanted.sum);
  selection.close();
}
