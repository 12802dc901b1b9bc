/**
 * Runs the published naming cases through real sockets: each case is an OTLP request to a listening receiver with the
 * strategy of the case, and what is asked back is the series that came of it. From the command line through
 * scripts/conformance-otlp.mjs, and from conformance.test.ts.
 *
 * Some cases are of settings that the daemon does not have: a namespace in front of every name, and collapsed or unprefixed
 * label names. Their requests cannot be made; these run against the translation itself, and say so.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { buildHttp, listenHttp } from '../../../src/api/http.ts';
import { registerOtlpHttp } from '../../../src/api/push/push.ts';
import {
  escapeLabel,
  labelNameError,
  metricNameError,
  type NamedType,
  type NamingStrategy,
  translate,
  unitName,
} from '../../../src/ingest/otlp/naming.ts';
import { labelValue, METRIC_NAME } from '../../../src/model/labels.ts';
import { encodeExportRequest, type MetricToEncode, type ResourceToEncode } from '../../support/otlp-encoder.ts';
import { type Bench, bench, NOW_MS, stored } from '../support.ts';

export interface NamingCase {
  readonly id: string;
  readonly kind: 'metric' | 'label';
  readonly title?: string;
  readonly [field: string]: unknown;
}

export interface CaseResult {
  readonly id: string;
  readonly title: string;
  /** '' if it passed. */
  readonly failure: string;
  /** Whether the case went over a socket. */
  readonly overSocket: boolean;
}

const NAMED_TYPES: Readonly<Record<string, NamedType>> = { Gauge: 'gauge', MonotonicCounter: 'monotonic_sum' };
const DATA: Readonly<Record<string, Omit<MetricToEncode, 'name' | 'unit'>>> = {
  Gauge: { kind: 'gauge', points: [{ time: NOW_MS, value: 1 }] },
  MonotonicCounter: { kind: 'sum', monotonic: true, points: [{ time: NOW_MS, value: 1 }] },
  NonMonotonicCounter: { kind: 'sum', points: [{ time: NOW_MS, value: 1 }] },
  // The series of a classic histogram end in _bucket, _count, _sum: a native one has the name alone.
  Histogram: { kind: 'histogram', points: [{ time: NOW_MS, count: 1, bucketCounts: [1], sum: 1 }] },
  ExponentialHistogram: {
    kind: 'exponential_histogram',
    points: [{ time: NOW_MS, count: 1, positive: { offset: 0, counts: [1] } }],
  },
  Summary: { kind: 'summary', points: [{ time: NOW_MS, count: 1, sum: 1, quantiles: [[0.5, 1]] }] },
  // A type that nobody knows has no suffix of its own, like a sum that is not monotonic.
  Unknown: { kind: 'sum', points: [{ time: NOW_MS, value: 1 }] },
};

export function caseFiles(paths: readonly string[]): string[] {
  return paths.flatMap((path) => {
    if (!statSync(path).isDirectory()) return [path];
    return readdirSync(path)
      .filter((name) => name.endsWith('.json'))
      .sort()
      .map((name) => join(path, name));
  });
}

export async function runFile(path: string): Promise<readonly CaseResult[]> {
  const { cases } = JSON.parse(readFileSync(path, 'utf8')) as { cases: NamingCase[] };
  const results: CaseResult[] = [];
  for (const one of cases) {
    const failures = one.kind === 'metric' ? await metricFailures(one) : await labelFailures(one);
    const overSocket = one.kind === 'label' || one.namespace === '';
    results.push({ id: one.id, title: one.title ?? String(one.label), failure: failures.join('; '), overSocket });
  }
  return results;
}

/** Prints what failed; returns the exit status. */
export async function main(paths: readonly string[]): Promise<number> {
  let passed = 0;
  let failed = 0;
  for (const path of caseFiles(paths)) {
    const results = await runFile(path);
    for (const { id, title, failure } of results)
      if (failure !== '') console.log(`FAIL ${id} ${title}\n     ${failure}`);
    const bad = results.filter(({ failure }) => failure !== '').length;
    const direct = results.filter(({ overSocket }) => !overSocket).length;
    console.log(
      `${path}: ${results.length - bad} passed, ${bad} failed (${direct} without a socket: the daemon sets no namespace)`,
    );
    passed += results.length - bad;
    failed += bad;
  }
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

function strategyOf({ utf8, suffixes }: NamingCase): NamingStrategy {
  if (utf8) return suffixes ? 'NoUTF8EscapingWithSuffixes' : 'NoTranslation';
  return suffixes ? 'UnderscoreEscapingWithSuffixes' : 'UnderscoreEscapingWithoutSuffixes';
}

async function metricFailures(one: NamingCase): Promise<string[]> {
  const [name, unit, namespace] = [String(one.name), String(one.unit), String(one.namespace)];
  const strategy = strategyOf(one);
  const failures: string[] = [];
  const expect = (what: string, got: unknown, want: unknown): void => {
    if (got !== want) failures.push(`${what}: got ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
  };
  const translated = translate({ name, unit, type: NAMED_TYPES[String(one.type)] ?? 'other' }, strategy, namespace);
  expect('error', metricNameError(name, translated, strategy) ?? '', one.error);
  if (one.suffixes) expect('unit', unitName(unit, strategy), one.wantUnit);
  if (namespace !== '') {
    if (one.error === '') expect('name', translated, one.want);
    return failures;
  }
  const metric = { ...DATA[String(one.type)]!, name, unit };
  const { head, rejected } = await send({ metrics: [metric] }, strategy);
  expect('rejected', rejected, one.error === '' ? 0 : 1);
  const names = stored(head).map(({ labels }) => labelValue(labels, METRIC_NAME));
  if (one.error !== '') expect('series', names.length, 0);
  else expect('stored name', names.includes(String(one.want)), true);
  return failures;
}

async function labelFailures(one: NamingCase): Promise<string[]> {
  const key = String(one.label);
  const failures: string[] = [];
  const text = (...fields: string[]): unknown =>
    fields.map((field) => one[field]).find((value) => value !== undefined) ?? '';
  const [plain, prefixed, runs] = ['sanitized', 'sanitizedUnderscoreLabelSanitization', 'sanitizedMultipleUnderscores'];
  const collapsedError = text('wantSanitizationError');
  const runsError = text('wantSanitizationMultipleUnderscoresError', 'wantSanitizationError');
  const translation = (keepRuns: boolean, prefixUnderscore: boolean, want: unknown, wantError: unknown): void => {
    const name = escapeLabel(key, { keepRuns, prefixUnderscore });
    const error = labelNameError(key, name) ?? '';
    if (error !== wantError || (wantError === '' && name !== want))
      failures.push(
        `${JSON.stringify({ keepRuns, prefixUnderscore })}: got ${name} ${error}, want ${want} ${wantError}`,
      );
  };
  translation(false, false, text(plain), collapsedError);
  translation(false, true, text(prefixed, plain), collapsedError);
  translation(true, false, text(runs, plain), runsError);
  const overSocket = async (strategy: NamingStrategy, want: unknown, wantError: unknown): Promise<void> => {
    const points = [{ time: NOW_MS, value: 1, attributes: { [key]: 'here' } }];
    const { head, rejected } = await send({ metrics: [{ name: 'g', kind: 'gauge', points }] }, strategy);
    const [series] = stored(head);
    const at = series?.labels.indexOf('here') ?? -1;
    const got = at < 0 ? '' : series!.labels[at - 1];
    const [wantName, wantRejected] = wantError === '' ? [want, 0] : ['', 1];
    if (got !== wantName || rejected !== wantRejected)
      failures.push(
        `${strategy}: got ${JSON.stringify(got)}, ${rejected} rejected, want ${JSON.stringify(wantName)}, ${wantRejected}`,
      );
  };
  await overSocket('UnderscoreEscapingWithSuffixes', text(prefixed, runs, plain), runsError);
  await overSocket('NoTranslation', key, one.wantUTF8Error ?? '');
  return failures;
}

const logger = pino({ level: 'silent' });

/** Sends a resource to a fresh receiver; what it stored, and how many points it rejected. */
async function send(
  resource: ResourceToEncode,
  strategy: NamingStrategy,
): Promise<Pick<Bench, 'head'> & { rejected: number }> {
  const { writer, head } = bench({ otlp: { strategy, convertHistogramsToNhcb: false }, seriesMax: 100 });
  const app = buildHttp({ logger });
  registerOtlpHttp(app, { writer, logger });
  const address = await listenHttp(app, { host: '127.0.0.1', port: 0 });
  try {
    const headers = { 'content-type': 'application/x-protobuf' };
    const body = Buffer.from(encodeExportRequest([resource]));
    const reply = await fetch(`http://${address}/v1/metrics`, { method: 'POST', headers, body });
    const bytes = new Uint8Array(await reply.arrayBuffer());
    if (reply.status !== 200) throw new Error(`status ${reply.status}`);
    // 1 partial_success { 1 rejected_data_points }: tag, length, tag, count.
    return { head, rejected: bytes.length === 0 ? 0 : bytes[3]! };
  } finally {
    await app.close();
  }
}
