/** Every trigger and metric that an autoscaler asked for: what it was told last, against its target, and how it went. */
import { useEffect, useState } from 'preact/hooks';
import type { Decision, Subject } from './api.ts';
import { formatAge, formatValue } from './format.ts';
import type { Live } from './live.ts';
import { Busy, Empty, Spark } from './parts.tsx';

export interface State {
  readonly word: string;
  readonly tone: 'good' | 'warn' | 'bad' | 'soft';
}

/** How a decision is to be read: a value, an old one that holds, or an error with its reason. */
export function stateOf({ outcome, value, activation }: Decision): State {
  if (outcome === 'value') {
    if (value !== null && value > (activation ?? 0)) return { word: 'active', tone: 'good' };
    return { word: 'idle', tone: 'soft' };
  }
  if (outcome === 'held' || outcome === 'last' || outcome === 'no_data')
    return { word: `holding (${outcome})`, tone: 'warn' };
  if (outcome === 'stale') return { word: 'stale', tone: 'bad' };
  return { word: `error: ${outcome}`, tone: 'bad' };
}

/** What an HPA with a target of type AverageValue makes of it; null if the target is not known here. */
export function replicasWanted({ value, target }: Decision): number | null {
  return value === null || target === null || target <= 0 ? null : Math.ceil(value / target - 1e-9);
}

export function whyLink({ surface, namespace, name, query }: Decision): string {
  return `/scaling/why?${new URLSearchParams({ surface, namespace, name, query })}`;
}

export function Scaling({ live }: { readonly live: Live }) {
  const nowMs = useNow();
  const [filter, setFilter] = useState('');
  if (live.subjects === null) return <Busy what="Waiting for the daemon" />;
  const wanted = filter.toLowerCase();
  const subjects = [...live.subjects.values()]
    .filter(({ key }) => key.toLowerCase().includes(wanted))
    .sort((a, b) => urgency(b.last) - urgency(a.last) || a.key.localeCompare(b.key));
  return (
    <>
      <h1>Scaling</h1>
      {live.subjects.size === 0 ? (
        <Empty
          command={`triggers:\n  - type: external\n    metadata:\n      scalerAddress: tidegauge.monitoring.svc:6000\n      query: sum(rate(http_requests_total[2m]))\n      targetValue: "100"`}
        >
          No autoscaler has asked yet. Give a ScaledObject this trigger, or point an HPA at external.metrics.k8s.io;
          what it is told appears here at once.
        </Empty>
      ) : (
        <>
          <div class="row">
            <input
              class="grow"
              type="search"
              placeholder="Filter"
              aria-label="Filter"
              value={filter}
              onInput={(event) => setFilter(event.currentTarget.value)}
            />
            <span class="soft">{subjects.length} triggers and metrics</span>
          </div>
          <section>
            <table class="cardlike">
              <thead>
                <tr>
                  <th>Trigger</th>
                  <th>State</th>
                  <th class="n">Value</th>
                  <th class="n">Target</th>
                  <th class="n">Replicas wanted</th>
                  <th>Over time</th>
                  <th class="n">Newest sample</th>
                  <th class="n">Asked</th>
                </tr>
              </thead>
              <tbody>
                {subjects.map((subject) => (
                  <Row key={subject.key} subject={subject} nowMs={nowMs} />
                ))}
              </tbody>
            </table>
          </section>
        </>
      )}
    </>
  );
}

/** What needs a look stands first. */
function urgency(decision: Decision): number {
  return ['soft', 'good', 'warn', 'bad'].indexOf(stateOf(decision).tone) >= 2 ? 1 : 0;
}

function Row({ subject: { last, points }, nowMs }: { readonly subject: Subject; readonly nowMs: number }) {
  const state = stateOf(last);
  const replicas = replicasWanted(last);
  return (
    <tr>
      <td data-label="Trigger">
        <span>
          <a href={whyLink(last)}>
            {last.namespace === '' ? '' : `${last.namespace}/`}
            {last.name}
          </a>{' '}
          <span class="soft">{last.surface}</span>
          <br />
          <code>{last.query}</code>
        </span>
      </td>
      <td data-label="State">
        <span>
          <span class={`state ${state.tone}`}>{state.word}</span>
          {last.reason === '' ? null : <div class="soft">{last.reason}</div>}
        </span>
      </td>
      <td class="n" data-label="Value">
        {formatValue(last.value)}
      </td>
      <td class="n" data-label="Target">
        {formatValue(last.target)}
      </td>
      <td
        class="n"
        data-label="Replicas wanted"
        title={last.target === null ? 'The target stands in the HPA, not here' : ''}
      >
        {replicas ?? '–'}
      </td>
      <td data-label="Over time">
        <Spark points={points} target={last.target} />
      </td>
      <td class="n" data-label="Newest sample">
        {last.newest === null ? '–' : formatAge((nowMs - Date.parse(last.newest)) / 1000)}
      </td>
      <td class="n" data-label="Asked">
        {formatAge((nowMs - Date.parse(last.time)) / 1000)} ago
      </td>
    </tr>
  );
}

export function useNow(): number {
  const [nowMs, setNowMs] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNowMs(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  return nowMs;
}
