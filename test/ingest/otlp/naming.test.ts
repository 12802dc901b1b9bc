import { test } from 'tap';
import { labelName, metricName, type NamedType, type NamingStrategy } from '../../../src/ingest/otlp/naming.ts';

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
