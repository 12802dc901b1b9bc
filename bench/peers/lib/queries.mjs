/** The queries whose latency is measured, the heaviest last. `needs`: the job that must be in the dataset. */
const instant = (name, needs, query, more = {}) => ({ name, needs, path: '/api/v1/query', params: { query }, ...more });

export const QUERIES = [
  instant(
    'autoscale: sum(rate[2m]) of one service, 400 series',
    'svc-0000',
    'sum(rate(http_requests_total{job="svc-0000"}[2m]))',
  ),
  instant('sum, 1k series', 'api-1k', 'sum(http_requests_total{job="api-1k"})'),
  instant('sum, 10k series', 'api-10k', 'sum(http_requests_total{job="api-10k"})'),
  instant('sum, 100k series', 'api-100k', 'sum(http_requests_total{job="api-100k"})'),
  instant(
    'sum by (namespace)(rate[1m]), 100k series',
    'api-100k',
    'sum by (namespace)(rate(http_requests_total{job="api-100k"}[1m]))',
  ),
  instant(
    'histogram_quantile(0.99, sum by (le)(rate[1m])), 100k buckets',
    'hist-100k',
    'histogram_quantile(0.99, sum by (le)(rate(http_request_duration_seconds_bucket{job="hist-100k"}[1m])))',
  ),
  instant(
    'regex: sum(rate{namespace=~"team-.*-1[0-9]",status=~"5.."}[1m])',
    'api-10k',
    'sum(rate(http_requests_total{namespace=~"team-.*-1[0-9]",status=~"5.."}[1m]))',
  ),
  {
    name: 'query_range 1h step 15s, sum(rate[1m]), 1k series',
    needs: 'api-1k',
    path: '/api/v1/query_range',
    range: 3600,
    step: 15,
    params: { query: 'sum(rate(http_requests_total{job="api-1k"}[1m]))' },
  },
  {
    name: 'query_range 1h step 15s, sum(rate[1m]), 1k series, nocache=1',
    needs: 'api-1k',
    path: '/api/v1/query_range',
    range: 3600,
    step: 15,
    params: { query: 'sum(rate(http_requests_total{job="api-1k"}[1m]))', nocache: '1' },
  },
  {
    name: 'label values: namespace',
    needs: 'svc-0000',
    path: '/api/v1/label/namespace/values',
    window: 600,
    params: {},
  },
  {
    name: 'label values: pod of job api-10k (400 values)',
    needs: 'api-10k',
    path: '/api/v1/label/pod/values',
    window: 600,
    params: { 'match[]': 'http_requests_total{job="api-10k"}' },
  },
  { name: 'label values: pod, all', needs: 'svc-0000', path: '/api/v1/label/pod/values', window: 600, params: {} },
  instant('sum, all series', 'svc-0000', 'sum({job=~".+"})', { expect: 'all' }),
];

/** The jobs that a dataset of this size holds whole (dataset.mjs), as far as queries need them. */
export function jobsOf(series) {
  const jobs = new Set();
  let sum = 0;
  for (const [job, n] of [
    ['api-1k', 1_000],
    ['api-10k', 10_000],
    ['api-100k', 100_000],
    ['hist-100k', 100_000],
  ]) {
    if (sum + n > series) break;
    sum += n;
    jobs.add(job);
  }
  if (series - sum >= 1_000) jobs.add('svc-0000');
  return jobs;
}

/** Path and query string of a query for evaluation at `ts` (ms). */
export function urlOf(query, ts, api) {
  const seconds = ts / 1000;
  const params = { ...query.params };
  if (query.range) Object.assign(params, { start: seconds - query.range, end: seconds, step: query.step });
  else if (query.window) Object.assign(params, { start: seconds - query.window, end: seconds });
  else params.time = seconds;
  return `${api}${query.path}?${new URLSearchParams(params)}`;
}
