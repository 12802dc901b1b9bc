/**
 * Runs receiver cases of remote-write (the form of prometheus/compliance, rewritten as data) through a socket. Each case
 * gets a store of its own, so that no two of them meet. What a case leaves in the store is not looked at: replies only.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { buildHttp, listenHttp } from '../../../src/api/http.ts';
import { registerPush } from '../../../src/api/push/push.ts';
import { Writer } from '../../../src/ingest/write.ts';
import { systemClock } from '../../../src/model/clock.ts';
import { LIMITS } from '../../../src/model/limits.ts';
import { Registry } from '../../../src/telemetry/registry.ts';
import { Exemplars } from '../../../src/tsdb/exemplars.ts';
import { KernelHead } from '../../../src/tsdb/kernel-head.ts';
import type { HistogramToEncode, Span } from '../../support/histogram-encoder.ts';
import { encodeRequest, type LabelPairs, type Series2ToEncode } from '../../support/remote-write-2-encoder.ts';
import { encodeWriteRequest } from '../../support/remote-write-encoder.ts';

type Value = number | string;

interface CaseHistogram {
  readonly offsetMs: number;
  readonly schema: number;
  readonly sum: number;
  readonly countInt?: number;
  readonly zeroCountInt?: number;
  readonly positiveSpans?: readonly Span[];
  readonly positiveDeltas?: readonly number[];
  readonly negativeSpans?: readonly Span[];
  readonly negativeDeltas?: readonly number[];
  readonly customValues?: readonly number[];
}

interface CaseSeries {
  readonly labels: Readonly<Record<string, string>>;
  readonly sample?: { readonly offsetMs: number; readonly value: Value };
  readonly histogram?: CaseHistogram;
  readonly exemplars?: readonly {
    readonly labels: Readonly<Record<string, string>>;
    readonly value: Value;
    readonly offsetMs: number;
  }[];
  readonly metadata?: { readonly type: string; readonly help: string; readonly unit: string };
  readonly createdOffsetMs?: number;
}

interface Expected {
  readonly ok: boolean;
  readonly must?: string | number;
  readonly should?: number;
  readonly exact?: number;
  readonly samples?: number;
  readonly histograms?: number;
  readonly exemplars?: number;
  readonly maxSamples?: number;
  readonly maxHistograms?: number;
  readonly maxExemplars?: number;
}

interface Case {
  readonly id: string;
  readonly test: string;
  readonly name: string;
  readonly rfc: 'MUST' | 'SHOULD' | 'MAY';
  readonly proto?: string;
  readonly twice?: boolean;
  readonly headers?: Readonly<Record<string, string>>;
  readonly noVersionHeader?: boolean;
  readonly corruptFirstByte?: number;
  readonly series: readonly CaseSeries[];
  readonly expect: Expected;
}

interface CaseFile {
  readonly defaultHeaders: Readonly<Record<string, string>>;
  readonly cases: readonly Case[];
}

export interface CaseResult {
  readonly id: string;
  readonly title: string;
  /** What was wrong, a line each; none: it passed. SHOULD and MAY count like MUST. */
  readonly faults: readonly string[];
}

/** How start timestamps travel: as in the first drafts, or as in the final specification. */
type Starts = 'created' | 'start';

const METADATA_TYPES = [
  'UNSPECIFIED',
  'COUNTER',
  'GAUGE',
  'HISTOGRAM',
  'GAUGEHISTOGRAM',
  'SUMMARY',
  'INFO',
  'STATESET',
];
const WRITTEN = ['samples', 'histograms', 'exemplars'] as const;
/** e5e833bc9a91 sends a series' newest samples first and then, in its second request, some of an hour before. */
const OUT_OF_ORDER_MS = 2 * 3_600_000;

/** Files, or all JSON files of folders. */
export function caseFiles(paths: readonly string[]): string[] {
  return paths.flatMap((path) => {
    if (!statSync(path).isDirectory()) return [path];
    const names = readdirSync(path).filter((name) => name.endsWith('.json'));
    return names.sort().map((name) => join(path, name));
  });
}

export async function runCaseFile(path: string): Promise<readonly CaseResult[]> {
  const { defaultHeaders, cases } = JSON.parse(readFileSync(path, 'utf8')) as CaseFile;
  const results: CaseResult[] = [];
  for (const one of cases) {
    const faults = await runCase(one, defaultHeaders);
    results.push({ id: one.id, title: `${one.test} ${one.name} (${one.rfc})`, faults });
  }
  return results;
}

async function runCase(one: Case, defaultHeaders: CaseFile['defaultHeaders']): Promise<readonly string[]> {
  const hasStart = one.series.some(({ createdOffsetMs }) => createdOffsetMs !== undefined);
  const faults: string[] = [];
  for (const starts of hasStart ? (['created', 'start'] as const) : (['start'] as const)) {
    await withReceiver(async (url) => {
      const headers: Record<string, string> = { ...defaultHeaders, ...one.headers };
      if (one.noVersionHeader === true) delete headers['x-prometheus-remote-write-version'];
      const body = Buffer.from(encodeCase(one, Date.now(), starts));
      if (one.corruptFirstByte !== undefined) body[0] = one.corruptFirstByte;
      for (let round = 0; round < (one.twice === true ? 2 : 1); round++) {
        const reply = await fetch(url, { method: 'POST', headers, body });
        const text = (await reply.text()).trim();
        const wrong = faultsOf(one, round, reply);
        faults.push(...wrong.map((fault) => `${fault} (request ${round + 1}, ${starts}: ${reply.status} ${text})`));
      }
    });
  }
  return faults;
}

/** A receiver on a free port, over a store of its own; the way of a request is the daemon's. */
async function withReceiver(act: (url: string) => Promise<void>): Promise<void> {
  const logger = pino({ level: 'silent' });
  const head = new KernelHead({
    clock: systemClock,
    retentionMs: 4 * 3_600_000,
    outOfOrderMsMax: OUT_OF_ORDER_MS,
    futureMsMax: LIMITS.futureMsMax,
    seriesMax: 1000,
    memoryBytes: 128 * 2 ** 20,
  });
  const exemplars = new Exemplars({
    countMax: LIMITS.exemplarsMax,
    bytesMax: LIMITS.exemplarBytesMax,
    labelCharactersMax: LIMITS.exemplarLabelCharactersMax,
    outOfOrderMsMax: OUT_OF_ORDER_MS,
  });
  const app = buildHttp({ logger });
  registerPush(app, { writer: new Writer({ head, clock: systemClock, registry: new Registry(), exemplars }), logger });
  const address = await listenHttp(app, { host: '127.0.0.1', port: 0 });
  try {
    await act(`http://${address}/api/v1/write`);
  } finally {
    await app.close();
  }
}

function encodeCase({ proto, series }: Case, nowMs: number, starts: Starts): Uint8Array {
  if (proto === 'prometheus.WriteRequest') {
    return encodeWriteRequest(
      series.map(({ labels, sample }) => ({
        labels,
        samples: sample === undefined ? [] : [{ timestampMs: nowMs + sample.offsetMs, value: numberOf(sample.value) }],
      })),
    );
  }
  return encodeRequest(series.map((one) => seriesOf(one, nowMs, starts)));
}

function seriesOf(one: CaseSeries, nowMs: number, starts: Starts): Series2ToEncode {
  const { sample, histogram, exemplars, metadata, createdOffsetMs } = one;
  const createdMs = createdOffsetMs === undefined ? null : nowMs + createdOffsetMs;
  const start = createdMs !== null && starts === 'start' ? { startTimestampMs: createdMs } : {};
  return {
    labels: shuffledPairs(one.labels),
    ...(sample && {
      samples: [{ timestampMs: nowMs + sample.offsetMs, value: numberOf(sample.value), ...start }],
    }),
    ...(histogram && { histograms: [{ ...histogramOf(histogram, nowMs), ...start }] }),
    ...(exemplars && {
      exemplars: exemplars.map(({ labels, value, offsetMs }) => ({
        labels: Object.entries(labels),
        value: numberOf(value),
        timestampMs: nowMs + offsetMs,
      })),
    }),
    ...(metadata && { metadata: { ...metadata, type: METADATA_TYPES.indexOf(metadata.type) } }),
    ...(createdMs !== null && starts === 'created' && { createdMs }),
  };
}

function histogramOf(histogram: CaseHistogram, nowMs: number): HistogramToEncode {
  const { offsetMs, schema, sum, countInt = 0, zeroCountInt = 0 } = histogram;
  return {
    timestampMs: nowMs + offsetMs,
    schema,
    sum,
    count: countInt,
    zeroCount: zeroCountInt,
    positiveSpans: histogram.positiveSpans ?? [],
    positive: histogram.positiveDeltas ?? [],
    negativeSpans: histogram.negativeSpans ?? [],
    negative: histogram.negativeDeltas ?? [],
    customValues: histogram.customValues ?? [],
  };
}

/** A random order, as the upstream suite sends its labels. */
function shuffledPairs(labels: Readonly<Record<string, string>>): LabelPairs {
  return Object.entries(labels)
    .map((pair) => ({ pair, order: Math.random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ pair }) => pair);
}

/** Go's spelling of infinities. */
function numberOf(value: Value): number {
  return Number(String(value).replace('Inf', 'Infinity'));
}

function faultsOf({ expect, proto, rfc }: Case, round: number, { status, headers }: Response): string[] {
  const faults: string[] = [];
  if (status >= 500) faults.push(`${rfc}: a 5xx`);
  if (expect.ok) {
    // The first of two requests is for the status that should be, the second one for any that may be.
    const isRight =
      round === 0 && expect.should !== undefined ? status === expect.should : status >= 200 && status < 300;
    if (!isRight) faults.push(`status: want ${expect.should ?? '2xx'}`);
  } else if (status !== (expect.exact ?? expect.must)) faults.push(`status: want ${expect.exact ?? expect.must}`);
  for (const what of WRITTEN) {
    const text = headers.get(`x-prometheus-remote-write-${what}-written`);
    const written = Number(text ?? 0);
    if (expect.ok) {
      const want = proto === 'prometheus.WriteRequest' ? 0 : expect[what];
      if (want !== undefined && written !== want) faults.push(`${what} written: got ${text}, want ${want}`);
    } else {
      const max = expect[`max${what[0]!.toUpperCase()}${what.slice(1)}` as keyof Expected];
      if (max !== undefined && written > Number(max)) faults.push(`${what} written: got ${text}, want at most ${max}`);
    }
  }
  return faults;
}

/** Prints what failed; returns the exit status. */
export async function main(paths: readonly string[]): Promise<number> {
  let passed = 0;
  let failed = 0;
  for (const path of caseFiles(paths)) {
    for (const { id, title, faults } of await runCaseFile(path)) {
      if (faults.length === 0) passed++;
      else failed++;
      for (const fault of faults) console.log(`FAIL ${id} ${title}\n     ${fault}`);
    }
  }
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}
