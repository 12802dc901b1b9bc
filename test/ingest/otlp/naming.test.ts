import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import {
  escapeLabel,
  labelName,
  labelNameError,
  metricName,
  metricNameError,
  type NamedType,
  type NamingStrategy,
  translate,
  unitName,
} from '../../../src/ingest/otlp/naming.ts';

const ESCAPED = 'UnderscoreEscapingWithSuffixes';
const ESCAPED_PLAIN = 'UnderscoreEscapingWithoutSuffixes';
const KEPT = 'NoUTF8EscapingWithSuffixes';
const KEPT_PLAIN = 'NoTranslation';

test('metric names by strategy', (t) => {
  const f = (name: string, unit: string, type: NamedType, want: Record<string, string | null>): void => {
    for (const [strategy, wanted] of Object.entries(want)) {
      t.equal(metricName({ name, unit, type }, strategy as NamingStrategy), wanted, `${name} ${unit} ${strategy}`);
    }
  };
  f('http.server.duration', 'ms', 'other', {
    [ESCAPED]: 'http_server_duration_milliseconds',
    [ESCAPED_PLAIN]: 'http_server_duration',
    [KEPT]: 'http.server.duration_milliseconds',
    [KEPT_PLAIN]: 'http.server.duration',
  });
  f('requests.total', '1', 'monotonic_sum', {
    [ESCAPED]: 'requests_total',
    [ESCAPED_PLAIN]: 'requests_total',
    [KEPT]: 'requests_total',
    [KEPT_PLAIN]: 'requests.total',
  });
  f('cache.hit', '1', 'gauge', {
    [ESCAPED]: 'cache_hit_ratio',
    [ESCAPED_PLAIN]: 'cache_hit',
    [KEPT]: 'cache.hit_ratio',
  });
  f('total.bytes.read', 'By', 'monotonic_sum', {
    [ESCAPED]: 'bytes_read_total',
    [KEPT]: 'total.bytes.read_bytes_total',
  });
  f('io', 'By/s', 'gauge', { [ESCAPED]: 'io_bytes_per_second', [KEPT]: 'io_bytes_per_second' });
  f('io', ' {packets} / s ', 'gauge', { [ESCAPED]: 'io_per_second' });
  f('io', 'm^2//s', 'gauge', { [ESCAPED]: 'io_m_2_per_s' });
  f('a  -- b', '', 'other', { [ESCAPED]: 'a_b', [ESCAPED_PLAIN]: 'a_b', [KEPT]: 'a  -- b' });
  f('__a__b_:c', '', 'other', { [ESCAPED]: 'a_b_:c', [ESCAPED_PLAIN]: '__a__b_:c' });
  f('2xx', '', 'other', { [ESCAPED]: '_2xx', [ESCAPED_PLAIN]: '_2xx', [KEPT]: '2xx' });
  f('温度', 'Cel', 'gauge', {
    [ESCAPED]: 'celsius',
    [ESCAPED_PLAIN]: null,
    [KEPT]: '温度_celsius',
    [KEPT_PLAIN]: '温度',
  });
  f('', '', 'gauge', { [ESCAPED]: null, [ESCAPED_PLAIN]: null, [KEPT_PLAIN]: null });
  f('_@_', '', 'gauge', { [ESCAPED]: null, [ESCAPED_PLAIN]: null, [KEPT_PLAIN]: '_@_' });
  t.end();
});

test('label names', (t) => {
  const f = (key: string, escaped: string | null, kept: string | null = key): void => {
    t.equal(labelName(key, ESCAPED), escaped, key);
    t.equal(labelName(key, KEPT_PLAIN), kept, key);
  };
  f('http.method', 'http_method');
  f('a..b', 'a__b');
  f('_x', 'key_x');
  f('__x', '__x');
  f('1x', 'key_1x');
  f('🌊.height', '__height');
  f('🌊', null);
  f('', null, null);
  t.end();
});

interface NamingCase {
  readonly id: string;
  readonly kind: 'metric' | 'label';
  readonly [field: string]: unknown;
}

const corpus = process.env.TIDEGAUGE_CONFORMANCE;
const skip = corpus === undefined ? 'TIDEGAUGE_CONFORMANCE does not name the folder of the conformance cases' : false;
const TYPES: Readonly<Record<string, NamedType>> = { Gauge: 'gauge', MonotonicCounter: 'monotonic_sum' };

test('the published naming cases', { skip }, (t) => {
  const { cases } = JSON.parse(readFileSync(join(corpus ?? '', 'otlp', 'naming-cases.json'), 'utf8')) as {
    cases: NamingCase[];
  };
  for (const one of cases) {
    if (one.kind === 'metric') checkMetric(t, one);
    else checkLabel(t, one);
  }
  t.ok(cases.length >= 60);
  t.end();
});

function checkMetric(t: Test, one: NamingCase): void {
  const strategy = one.utf8 ? (one.suffixes ? KEPT : KEPT_PLAIN) : one.suffixes ? ESCAPED : ESCAPED_PLAIN;
  const metric = { name: String(one.name), unit: String(one.unit), type: TYPES[String(one.type)] ?? 'other' };
  const namespace = String(one.namespace);
  const what = `${one.id} ${one.title}`;
  t.equal(metricName(metric, strategy, namespace), one.error === '' ? one.want : null, what);
  t.equal(metricNameError(metric.name, translate(metric, strategy, namespace), strategy) ?? '', one.error, what);
  if (one.suffixes) t.equal(unitName(metric.unit, strategy), one.wantUnit, what);
}

function checkLabel(t: Test, one: NamingCase): void {
  const key = String(one.label);
  const text = (...fields: string[]): unknown =>
    fields.map((field) => one[field]).find((value) => value !== undefined) ?? '';
  const check = (keepRuns: boolean, prefixUnderscore: boolean, want: unknown, wantError: unknown): void => {
    const rules = { keepRuns, prefixUnderscore };
    const error = labelNameError(key, escapeLabel(key, rules));
    t.equal(error ?? '', wantError, `${one.id} ${JSON.stringify(rules)}`);
    t.equal(labelName(key, ESCAPED, rules) ?? '', wantError === '' ? want : '', `${one.id} ${JSON.stringify(rules)}`);
  };
  const [plain, prefixed, runs] = ['sanitized', 'sanitizedUnderscoreLabelSanitization', 'sanitizedMultipleUnderscores'];
  const collapsedError = text('wantSanitizationError');
  const runsError = text('wantSanitizationMultipleUnderscoresError', 'wantSanitizationError');
  check(false, false, text(plain), collapsedError);
  check(false, true, text(prefixed, plain), collapsedError);
  check(true, false, text(runs, plain), runsError);
  check(true, true, text(prefixed, runs, plain), runsError);
  t.equal(labelName(key, KEPT_PLAIN), one.wantUTF8Error === undefined ? key : null, `${one.id} UTF-8`);
}
