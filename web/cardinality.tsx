/** Cardinality: what the series are made of, who sends them, how fast they come and go, and where memory is. */
import { useState } from 'preact/hooks';
import { ask, type NamedCount, type TsdbStatus } from './api.ts';
import { formatBytes, formatCount, formatValue } from './format.ts';
import { type OwnMetrics, useOwnMetrics } from './live.ts';
import { Busy, Empty, Failure, useLoaded } from './parts.tsx';

const TOP = 20;
/** More pairs are read than are shown, since those of the senders are picked out of them. */
const PAIRS = 500;

export function Cardinality() {
  const [round, setRound] = useState(0);
  const { data, error } = useLoaded(String(round), (signal) =>
    ask<TsdbStatus>('status/tsdb', { limit: PAIRS }, signal),
  );
  const own = useOwnMetrics();
  if (error !== '') return <Failure error={error} />;
  if (data === null) return <Busy what="Counting series" />;
  const {
    headStats,
    seriesCountByMetricName,
    labelValueCountByLabelName,
    memoryInBytesByLabelName,
    seriesCountByLabelValuePair,
  } = data.data;
  const senders = seriesCountByLabelValuePair.filter(({ name }) => /^(?:job|service_name|service\.name)=/.test(name));
  const per = (name: string): string =>
    own?.perSecond.has(name) ? `${formatValue(own.perSecond.get(name)!)} /s` : '…';
  const series = headStats.numSeries;
  if (series === 0) {
    return (
      <>
        <h1>Cardinality</h1>
        <Empty command={`remote_write:\n  - url: ${location.origin}/api/v1/write`}>
          There are no series yet. Let a Prometheus push to this address; its series are counted here.
        </Empty>
      </>
    );
  }
  return (
    <>
      <h1>Cardinality</h1>
      <div class="row">
        <button type="button" onClick={() => setRound(round + 1)}>
          Count again
        </button>
      </div>
      <section class="cards">
        <Card name="Series" value={formatCount(series)} />
        <Card name="Label pairs" value={formatCount(headStats.numLabelPairs)} />
        <Card name="Chunks" value={formatCount(headStats.chunkCount)} />
        <Card name="New series" value={per('tidegauge_head_series_created_total')} />
        <Card name="Series removed" value={per('tidegauge_head_series_removed_total')} />
        <Card name="Store" value={own === null ? '…' : formatBytes(own.values.get('tidegauge_head_bytes') ?? 0)} />
      </section>
      <Top title="Metrics with most series" rows={seriesCountByMetricName} total={series} linkOf={(name) => name} />
      <Top title="Who sends them" rows={senders} total={series} linkOf={pairSelector} />
      <Top
        title="Labels with most values"
        rows={labelValueCountByLabelName}
        linkOf={(name) => `count by (${name}) ({${name}!=""})`}
      />
      <Top
        title="Label pairs with most series"
        rows={seriesCountByLabelValuePair}
        total={series}
        linkOf={pairSelector}
      />
      {own === null ? null : <Top title="Memory by part" rows={memoryParts(own)} format={formatBytes} />}
      <Top title="Memory by label name" rows={memoryInBytesByLabelName} format={formatBytes} />
    </>
  );
}

/** As the daemon's own metrics have them, the largest first. */
function memoryParts({ values }: OwnMetrics): readonly NamedCount[] {
  const parts = [...values].flatMap(([key, value]) => {
    const name = /^tidegauge_memory_bytes\{part="(\w+)"\}$/.exec(key)?.[1];
    return name === undefined || value === 0 ? [] : [{ name: name.replaceAll('_', ' '), value }];
  });
  return parts.sort((a, b) => b.value - a.value);
}

function Card({ name, value }: { readonly name: string; readonly value: string }) {
  return (
    <div>
      {name} <b>{value}</b>
    </div>
  );
}

function pairSelector(pair: string): string {
  const at = pair.indexOf('=');
  return `count by (__name__) ({${pair.slice(0, at)}=${JSON.stringify(pair.slice(at + 1))}})`;
}

interface TopProps {
  readonly title: string;
  readonly rows: readonly NamedCount[];
  readonly total?: number;
  readonly format?: (value: number) => string;
  readonly linkOf?: (name: string) => string;
}

function Top({ title, rows, total, format = formatCount, linkOf }: TopProps) {
  return (
    <section>
      <h2>{title}</h2>
      {rows.length === 0 ? <p class="soft">None.</p> : null}
      <div class="scroll">
        <table>
          <tbody>
            {rows.slice(0, TOP).map(({ name, value }) => (
              <tr key={name}>
                <td class="mono">
                  {linkOf === undefined ? (
                    name
                  ) : (
                    <a href={`/query?${new URLSearchParams({ 'g0.expr': linkOf(name), 'g0.tab': 'table' })}`}>{name}</a>
                  )}
                </td>
                <td class="n">{format(value)}</td>
                {total === undefined ? null : (
                  <td class="n">
                    {((100 * value) / total).toFixed(1)} %
                    <progress class="bar" max={total} value={value} aria-hidden="true" />
                  </td>
                )}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
