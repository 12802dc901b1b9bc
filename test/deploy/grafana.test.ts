/** The dashboards: well-formed, and every query in them finds something in a daemon that was fed what they are about. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';
import { parseExposition } from '../journeys/exposition.ts';
import { startDaemon } from '../support/daemon.ts';
import { KedaClient } from '../support/keda-client.ts';
import { encodeWriteRequest, type SeriesToEncode } from '../support/remote-write-encoder.ts';

const FOLDER = fileURLToPath(new URL('../../deploy/grafana/', import.meta.url));
const STEP_MS = 15_000;
const POINTS = 21;

interface Dashboard {
  readonly uid: string;
  readonly title: string;
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly type: string; readonly definition?: string }[];
  };
  readonly panels: readonly {
    readonly id: number;
    readonly title: string;
    readonly datasource: { readonly type: string; readonly uid: string };
    readonly gridPos: { readonly x: number; readonly w: number };
    readonly targets: readonly { readonly refId: string; readonly expr: string }[];
  }[];
}

const names = readdirSync(FOLDER).filter((name) => name.endsWith('.json'));
const boards = new Map(names.map((name) => [name, JSON.parse(readFileSync(`${FOLDER}${name}`, 'utf8')) as Dashboard]));

test('dashboards are well-formed', async (t) => {
  t.strictSame(names.sort(), ['autoscaling.json', 'tidegauge.json', 'vllm.json']);
  t.equal(new Set([...boards.values()].map(({ uid }) => uid)).size, names.length, 'each has a uid of its own');
  for (const [name, { panels, templating }] of boards) {
    t.equal(templating.list[0]?.type, 'datasource', `${name} asks for its data source`);
    t.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
    for (const { title, datasource, gridPos, targets } of panels) {
      // biome-ignore lint/suspicious/noTemplateCurlyInString: Grafana's own placeholder
      t.strictSame(datasource, { type: 'prometheus', uid: '${datasource}' }, title);
      t.ok(gridPos.x + gridPos.w <= 24 && targets.length > 0, title);
    }
  }
});

/** Each sample at every step, growing, so that counters have a rate. */
function over(endMs: number, name: string, labels: Readonly<Record<string, string>>, last: number): SeriesToEncode {
  return {
    labels: { __name__: name, ...labels },
    samples: Array.from({ length: POINTS }, (_, k) => ({
      timestampMs: endMs - (POINTS - 1 - k) * STEP_MS,
      value: last + (k + 1) * 3,
    })),
  };
}

/** What vLLM exposes, as far as the dashboard is about it. */
function vllmSeries(endMs: number): readonly SeriesToEncode[] {
  const labels = { model_name: 'llama', instance: 'vllm-0' };
  const plain = [
    'num_requests_running',
    'num_requests_waiting',
    'gpu_cache_usage_perc',
    'generation_tokens_total',
    'prompt_tokens_total',
  ];
  const buckets = ['time_to_first_token_seconds', 'time_per_output_token_seconds'].flatMap((name) =>
    ['0.1', '1', '+Inf'].map((le) => over(endMs, `vllm:${name}_bucket`, { ...labels, le }, 0)),
  );
  const ended = over(endMs, 'vllm:request_success_total', { ...labels, finished_reason: 'stop' }, 0);
  return [...plain.map((name) => over(endMs, `vllm:${name}`, labels, 1)), ...buckets, ended];
}

test('every query of every dashboard finds something', async (t) => {
  const daemon = await startDaemon();
  t.teardown(() => daemon.stop());
  const { web, keda: address } = daemon.listen;
  const write = (series: readonly SeriesToEncode[]) =>
    fetch(`http://${web}/api/v1/write`, {
      method: 'POST',
      body: encodeWriteRequest(series),
      headers: { 'content-encoding': 'snappy' },
    });
  // Each kind of thing happens once, so that its counter is there: a sample, a refused one, a query, an answer, an error.
  const endMs = Math.floor(Date.now() / STEP_MS) * STEP_MS;
  const old = { labels: { __name__: 'old' }, samples: [{ timestampMs: endMs - 86_400_000, value: 1 }] };
  await write([...vllmSeries(endMs), old]);
  const keda = new KedaClient(address);
  t.teardown(() => keda.close());
  await keda.poll({
    namespace: 'a',
    name: 'b',
    metadata: { query: 'sum(vllm:num_requests_waiting)', targetValue: '5' },
  });
  await keda.poll({ namespace: 'a', name: 'c', metadata: { query: 'nothing', targetValue: '5' } });
  t.equal((await fetch(`http://${web}/api/v1/query?query=sum(`)).status, 400);
  const own = [...parseExposition(await (await fetch(`http://${web}/metrics`)).text())];
  // The Kubernetes port is asked over TLS, which has tests of its own; its counter is as the document says.
  own.push({ name: 'tidegauge_kubernetes_requests_total', labels: { code: '200' }, value: 1 });
  own.push({ name: 'tidegauge_readings_total', labels: { surface: 'keda', outcome: 'value' }, value: 1 });
  const unique = new Map(own.map((one) => [JSON.stringify([one.name, one.labels]), one]));
  const stored = await write(
    [...unique.values()].map(({ name, labels, value }) => over(endMs, name, { ...labels, instance: 'self' }, value)),
  );
  t.ok(stored.ok, await stored.text());
  for (const [file, { panels, templating }] of boards) {
    for (const { title, targets } of panels) {
      for (const { refId, expr } of targets) {
        const query = expr.replaceAll('$__rate_interval', '1m').replaceAll(/\$(?:instance|model)\b/g, '.*');
        t.notMatch(query, /\$/, 'nothing is left to be filled in');
        const form = new URLSearchParams({
          query,
          start: String(endMs / 1000 - 120),
          end: String(endMs / 1000),
          step: '15',
        });
        const reply = await fetch(`http://${web}/api/v1/query_range`, { method: 'POST', body: form });
        const { data, error } = (await reply.json()) as { data?: { result: unknown[] }; error?: string };
        t.ok((data?.result.length ?? 0) > 0, `${file} ${title} ${refId}: ${error ?? query}`);
      }
    }
    for (const { definition } of templating.list) {
      const [, metric, label] = /^label_values\((\S+), (\S+)\)$/.exec(definition ?? '') ?? [];
      if (metric === undefined) continue;
      const { data } = (await (await fetch(`http://${web}/api/v1/label/${label}/values?match[]=${metric}`)).json()) as {
        data: unknown[];
      };
      t.equal(data.length, 1, definition!);
    }
  }
});
