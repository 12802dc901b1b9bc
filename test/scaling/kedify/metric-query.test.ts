/** The language of `metricQuery`: what is taken, what is refused, and in which words. */
import * as fc from 'fast-check';
import { test } from 'tap';
import { CodedError } from '../../../src/model/errors.ts';
import { parseMetricQuery } from '../../../src/scaling/kedify/metric-query.ts';

test('what is taken', async (t) => {
  const f = (text: string, aggregator: string, metric: string, labels: Readonly<Record<string, string>> = {}) => {
    const query = parseMetricQuery(text);
    t.strictSame(
      [query.aggregator, query.metric, Object.fromEntries(query.labels)],
      [aggregator, metric, labels],
      text,
    );
  };
  f('m', 'sum', 'm');
  f('m{a=1}', 'sum', 'm', { a: '1' });
  f(`m{a="1", b='2'}`, 'sum', 'm', { a: '1', b: '2' });
  f(' avg(m{a=1, b=2}) ', 'avg', 'm', { a: '1', b: '2' });
  f('vllm:num_requests_waiting', 'sum', 'vllm:num_requests_waiting');
  f('a-b', 'sum', 'a-b');
  f('http.server/req{http.route=/a/b.c:8-9}', 'sum', 'http_server_req', { 'http.route': '/a/b.c:8-9' });
  f('m{a=one two}', 'sum', 'm', { a: 'one two' });
  f('m{a=}', 'sum', 'm', { a: '' });
  f('sum(avg(m))', 'avg', 'm');
  f('sum(count(m{a=1}))', 'count', 'm', { a: '1' });
  f('min( m )', 'min', 'm');
  f('m {a=1}', 'sum', 'm', { a: '1' });
  f('sum(vllm:gpu_cache_usage_perc{model_name=llama3,deployment=llama})', 'sum', 'vllm:gpu_cache_usage_perc', {
    model_name: 'llama3',
    deployment: 'llama',
  });
  f('métrique', 'sum', 'métrique');
  t.match(parseMetricQuery('m/2').warning, /the metric m_2/);
});

test('what is refused', async (t) => {
  const f = (text: string, message: string | RegExp) =>
    t.throws(() => parseMetricQuery(text), { code: 'bad_metadata', message }, JSON.stringify(text));
  const labels = /^unable to parse labels/;
  f('', 'unable to parse metric query: ');
  f('  ', /^unable to parse metric query/);
  f('m{}', 'unable to parse labels: ');
  f('m{ }', labels);
  f('m{a:1}', /are expected at form {key1=val1, key2=val2}, but got: a:1$/);
  f('m{a=1,}', labels);
  f('m{b=2=2}', labels);
  f('m{a="1,2"}', labels);
  f('m{=1}', labels);
  f('m{a!=1}', /only = is known here/);
  f('m{a=~"x.*"}', /PromQL under the key "query"/);
  f('m{a!~"x"}', labels);
  f('m{a=1', /^unable to parse metric query: m{a=1$/);
  f('m}a=1{', /^unable to parse metric query/);
  f('avg(m{a=1)', /^unable to parse metric query/);
  f('AVG(m)', /one aggregation is all there is, in lower case/);
  f('avg(sum(m))', /one aggregation/);
  f('sum(sum(m){a=1})', /one aggregation/);
  f('m*2', /for PromQL use the key "query"/);
  f('m{a=1} * 2', /got "\* 2" after the labels/);
  f('rate(m[1m])', /one aggregation/);
  f('{a=1}', /"" is no name of a metric/);
});

test('any text is taken or refused in our own words', async (t) => {
  const text = fc.oneof(fc.string(), fc.stringMatching(/^(sum|avg)?\(?[a-c.]{0,3}\{?[ab=,"~! ]{0,8}\}?\)?$/));
  const property = fc.property(text, (one) => {
    try {
      const { metric, labels } = parseMetricQuery(one);
      return metric !== '' && ![...labels.keys()].includes('');
    } catch (error) {
      return error instanceof CodedError && error.code === 'bad_metadata';
    }
  });
  t.doesNotThrow(() => fc.assert(property, { numRuns: 2000 }));
});
