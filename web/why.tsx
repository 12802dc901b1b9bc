/** Why was this answered? The whole chain of one Reading: expression, series and their ages, steps, answer, last answers. */
import { useMemo } from 'preact/hooks';
import { ask, type Decision } from './api.ts';
import { formatAge, formatClock, formatValue } from './format.ts';
import type { Live } from './live.ts';
import { Busy, Empty, Failure, useLoaded } from './parts.tsx';
import { Plot } from './plot.tsx';
import { replicasWanted, stateOf } from './scaling.tsx';

interface Explained {
  readonly query: string;
  readonly evaluated: string;
  readonly policy: string;
  readonly time: string;
  readonly selectors: readonly {
    readonly selector: string;
    readonly window: string | null;
    readonly seriesCount: number;
    readonly series: readonly {
      readonly labels: Readonly<Record<string, string>>;
      readonly newest: string;
      readonly value: string;
    }[];
    readonly sourcesExpected: number;
    readonly sourcesSeen: number;
    readonly sources: readonly {
      readonly source: string;
      readonly state: string;
      readonly newest: string | null;
      readonly staleAfter: string;
    }[];
  }[];
  readonly steps: readonly Readonly<Record<string, unknown>>[];
  readonly outcome: string;
  readonly value: number | null;
  readonly reason: string;
  readonly keda: { readonly says: string };
  readonly hpa: { readonly says: string };
}

interface Told {
  readonly decisions: readonly Decision[];
}

const ANSWERS = 100;

export function Why({ url, live }: { readonly url: URL; readonly live: Live }) {
  const who = Object.fromEntries(
    ['surface', 'namespace', 'name'].map((name) => [name, url.searchParams.get(name) ?? '']),
  );
  const query = url.searchParams.get('query') ?? '';
  // A new answer of this subject is told live; the list is then read again.
  const newest = [...(live.subjects?.values() ?? [])].find(
    ({ last }) =>
      last.name === who.name &&
      last.namespace === who.namespace &&
      last.surface === who.surface &&
      last.query === query,
  )?.last;
  const told = useLoaded(`${url.search} ${newest === undefined ? '' : Math.floor(newest.id / 4)}`, (signal) =>
    ask<Told>('scale/decisions', { ...who, limit: 1000 }, signal),
  );
  const decisions = told.data?.data.decisions.filter((one) => one.query === query).slice(0, ANSWERS) ?? [];
  const id = url.searchParams.get('decision') ?? decisions[0]?.id ?? null;
  return (
    <>
      <p>
        <a href="/scaling">← All triggers</a>
      </p>
      <h1>
        Why {who.namespace === '' ? '' : `${who.namespace}/`}
        {who.name}?
      </h1>
      {told.error === '' ? null : <Failure error={told.error} />}
      {told.data === null && told.error === '' ? <Busy what="Reading the flight recorder" /> : null}
      {told.data !== null && decisions.length === 0 ? (
        <Empty command={`curl -s '${location.origin}/api/v1/scale/decisions?limit=10'`}>
          The flight recorder has no answer for this trigger: nobody asked lately, or it is written over.
        </Empty>
      ) : null}
      {decisions.length === 0 ? null : (
        <>
          <Answered decision={decisions.find((one) => String(one.id) === String(id)) ?? decisions[0]!} />
          <OverTime decisions={decisions} />
          {id === null ? null : <Chain id={String(id)} />}
          <Answers decisions={decisions} url={url} />
        </>
      )}
    </>
  );
}

function Answered({ decision }: { readonly decision: Decision }) {
  const state = stateOf(decision);
  const replicas = replicasWanted(decision);
  return (
    <section>
      <div class="cards">
        <div>
          State <b class={`state ${state.tone}`}>{state.word}</b>
        </div>
        <div>
          Value <b>{formatValue(decision.value)}</b>
        </div>
        <div>
          Target <b>{formatValue(decision.target)}</b>
        </div>
        <div>
          Replicas wanted <b>{replicas ?? '–'}</b>
        </div>
        <div>
          Age of the newest sample <b>{formatAge(decision.ageSeconds)}</b>
        </div>
        <div>
          Sources heard{' '}
          <b>
            {decision.sourcesSeen} of {decision.sourcesExpected}
          </b>
        </div>
      </div>
      {decision.reason === '' ? null : <p>{decision.reason}</p>}
    </section>
  );
}

function OverTime({ decisions }: { readonly decisions: readonly Decision[] }) {
  const { times, lines } = useMemo(() => {
    const oldestFirst = [...decisions].reverse();
    const target = decisions[0]?.target ?? null;
    return {
      times: oldestFirst.map(({ time }) => Date.parse(time) / 1000),
      lines: [
        { label: 'value', values: oldestFirst.map(({ value }) => value) },
        ...(target === null ? [] : [{ label: 'target', values: oldestFirst.map(() => target), dashed: true }]),
      ],
    };
  }, [decisions[0]?.id, decisions.length]);
  return (
    <section>
      <h2>Value against target</h2>
      <Plot times={times} lines={lines} />
    </section>
  );
}

function Chain({ id }: { readonly id: string }) {
  const { data, error } = useLoaded(id, (signal) => ask<Explained>('scale/explain', { decision: id }, signal));
  if (error !== '') return <Failure error={error} />;
  if (data === null) return <Busy what="Explaining" />;
  const { query, evaluated, policy, selectors, steps, keda, hpa } = data.data;
  return (
    <section data-chain>
      <h2>How it was worked out</h2>
      <p>
        Asked: <code>{query}</code>{' '}
        <a href={`/query?${new URLSearchParams({ 'g0.expr': evaluated, 'g0.tab': 'graph' })}`}>Explore it</a>
      </p>
      {evaluated === query ? null : (
        <p>
          Evaluated: <code>{evaluated}</code>
        </p>
      )}
      <p>
        Policy: <code>{policy === '' ? 'defaults' : policy}</code>
      </p>
      {selectors.map((selector) => (
        <Selector key={selector.selector} selector={selector} />
      ))}
      <h2>Steps of the policy</h2>
      <ol>
        {steps.map((step, i) => (
          // steps have no name of their own
          <li key={i}>{stepText(step)}</li>
        ))}
      </ol>
      <p>
        <strong>KEDA</strong> {keda.says}.
      </p>
      <p>
        <strong>HPA</strong> {hpa.says}.
      </p>
    </section>
  );
}

function stepText(step: Readonly<Record<string, unknown>>): string {
  return Object.entries(step)
    .map(([name, value]) => `${name}: ${typeof value === 'object' ? JSON.stringify(value) : String(value)}`)
    .join(' · ');
}

function Selector({ selector }: { readonly selector: Explained['selectors'][number] }) {
  const { seriesCount, series, sources } = selector;
  return (
    <div class="panel">
      <p>
        <code>
          {selector.selector}
          {selector.window === null ? '' : `[${selector.window}]`}
        </code>{' '}
        matched {seriesCount} series; {selector.sourcesSeen} of {selector.sourcesExpected} sources were heard.
      </p>
      {seriesCount === 0 ? (
        <Empty command={`curl -s '${location.origin}/api/v1/label/__name__/values'`}>
          No series matched. These are the metric names that the daemon knows:
        </Empty>
      ) : (
        <div class="scroll">
          <table>
            <thead>
              <tr>
                <th>Series</th>
                <th class="n">Newest</th>
                <th class="n">Value</th>
              </tr>
            </thead>
            <tbody>
              {series.map((one) => (
                <tr key={JSON.stringify(one.labels)}>
                  <td class="mono">{JSON.stringify(one.labels).slice(1, -1).replaceAll(',"', ', "')}</td>
                  <td class="n">{formatClock(one.newest)}</td>
                  <td class="n">{one.value}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {sources.length === 0 ? null : (
        <details>
          <summary>Sources</summary>
          <ul>
            {sources.map((source) => (
              <li key={source.source}>
                <code>{source.source}</code> {source.state}, stale after {source.staleAfter}
              </li>
            ))}
          </ul>
        </details>
      )}
    </div>
  );
}

function Answers({ decisions, url }: { readonly decisions: readonly Decision[]; readonly url: URL }) {
  const linkOf = (id: number): string => {
    const parameters = new URLSearchParams(url.search);
    parameters.set('decision', String(id));
    return `${url.pathname}?${parameters}`;
  };
  return (
    <section>
      <h2>Last {decisions.length} answers</h2>
      <div class="scroll">
        <table>
          <thead>
            <tr>
              <th>Time</th>
              <th>State</th>
              <th class="n">Value</th>
              <th class="n">Age</th>
              <th class="n">Series</th>
              <th>Reason</th>
            </tr>
          </thead>
          <tbody>
            {decisions.map((one) => (
              <tr key={one.id}>
                <td>
                  <a href={linkOf(one.id)}>{formatClock(one.time)}</a>
                </td>
                <td class={`state ${stateOf(one).tone}`}>{stateOf(one).word}</td>
                <td class="n">{formatValue(one.value)}</td>
                <td class="n">{formatAge(one.ageSeconds)}</td>
                <td class="n">{one.series}</td>
                <td class="soft">{one.reason}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
