/** Explore: expressions with completion, as table, graph and tree. Its address is Prometheus' own, so that links carry over. */
import { useEffect, useRef, useState } from 'preact/hooks';
import { addressOf, go, NEW_PANEL, type Panel, panelsOf, secondsOf, type Tab } from './address.ts';
import { type Answer, ask, type Metric, type QueryData } from './api.ts';
import { ExplainTree } from './explain-tree.tsx';
import { formatCount, formatMetric, parseSeconds } from './format.ts';
import { Busy, Empty, Failure } from './parts.tsx';
import { colourOf, type Line, Plot } from './plot.tsx';

const POINTS = 240;
/** Rows and legend entries that are shown; a page of many thousands helps nobody. */
const ROWS_MAX = 200;
const HISTORY_MAX = 50;
const TABS: readonly Tab[] = ['table', 'graph', 'explain'];

export function Explore({ url }: { readonly url: URL }) {
  const panels = panelsOf(url.searchParams);
  const change = (i: number, panel: Panel | null): void => {
    const next = panel === null ? panels.filter((_, k) => k !== i) : panels.map((one, k) => (k === i ? panel : one));
    go(addressOf(next.length === 0 ? [NEW_PANEL] : next));
  };
  return (
    <>
      <h1>Explore</h1>
      {panels.map((panel, i) => (
        // a panel is its place in the address
        <QueryPanel key={i} panel={panel} onChange={(next) => change(i, next)} isOnly={panels.length === 1} />
      ))}
      <button type="button" onClick={() => go(addressOf([...panels, NEW_PANEL]))}>
        Add a query
      </button>
    </>
  );
}

interface Loaded {
  readonly answer: Answer<QueryData>;
  readonly tookMs: number;
  readonly grid: Grid | null;
}

interface Grid {
  readonly start: number;
  readonly step: number;
  readonly count: number;
}

type Load =
  | { readonly kind: 'idle' }
  | { readonly kind: 'busy' }
  | { readonly kind: 'failed'; readonly error: string }
  | ({ readonly kind: 'done' } & Loaded);

interface PanelProps {
  readonly panel: Panel;
  readonly onChange: (panel: Panel | null) => void;
  readonly isOnly: boolean;
}

function QueryPanel({ panel, onChange, isOnly }: PanelProps) {
  const [text, setText] = useState(panel.expr);
  const [load, setLoad] = useState<Load>({ kind: 'idle' });
  const [round, setRound] = useState(0);
  const controller = useRef<AbortController | null>(null);
  useEffect(() => setText(panel.expr), [panel.expr]);
  useEffect(() => {
    if (panel.expr === '' || panel.tab === 'explain') return;
    const own = new AbortController();
    controller.current = own;
    setLoad({ kind: 'busy' });
    remember(panel.expr);
    run(panel, own.signal).then(
      (loaded) => setLoad({ kind: 'done', ...loaded }),
      (error: Error) => {
        if (controller.current === own)
          setLoad(own.signal.aborted ? { kind: 'idle' } : { kind: 'failed', error: error.message });
      },
    );
    return () => {
      if (controller.current === own) controller.current = null;
      own.abort();
    };
  }, [panel.expr, panel.tab, panel.range, panel.end, panel.step, round]);
  const execute = (expr = text): void => {
    if (expr === panel.expr) setRound((n) => n + 1);
    else onChange({ ...panel, expr });
  };
  return (
    <section>
      <div class="row">
        <div class="grow">
          <Expression given={panel.expr} text={text} onText={setText} onRun={execute} />
        </div>
        <button type="button" class="main" onClick={() => execute()}>
          Execute
        </button>
        {isOnly ? null : (
          <button type="button" onClick={() => onChange(null)} aria-label="Remove this query">
            ✕
          </button>
        )}
      </div>
      <div class="tabs" role="tablist">
        {TABS.map((tab) => (
          <button
            key={tab}
            type="button"
            role="tab"
            aria-selected={panel.tab === tab}
            onClick={() => onChange({ ...panel, expr: text, tab })}
          >
            {tab === 'table' ? 'Table' : tab === 'graph' ? 'Graph' : 'Explain'}
          </button>
        ))}
      </div>
      {panel.tab === 'explain' ? null : <Pickers panel={panel} onChange={onChange} />}
      {panel.expr === '' ? (
        <Empty command={`${location.origin}/query?g0.expr=${encodeURIComponent('sum by (job) (up)')}&g0.tab=graph`}>
          Type an expression and press Ctrl+Enter (completion knows the metric names), or open a link such as this one:
        </Empty>
      ) : panel.tab === 'explain' ? (
        <ExplainTree expr={panel.expr} end={panel.end} />
      ) : (
        <Result load={load} panel={panel} onChange={onChange} onCancel={() => controller.current?.abort()} />
      )}
    </section>
  );
}

async function run({ expr, tab, range, end, step }: Panel, signal: AbortSignal): Promise<Loaded> {
  const began = performance.now();
  const endSeconds = secondsOf(end) ?? Math.floor(Date.now() / 1000);
  if (tab === 'table') {
    const answer = await ask<QueryData>('query', { query: expr, time: endSeconds }, signal);
    return { answer, tookMs: performance.now() - began, grid: null };
  }
  const seconds = parseSeconds(range) ?? 3600;
  const stepSeconds = parseSeconds(step) ?? Math.max(1, Math.round(seconds / POINTS));
  // On whole steps, so that points stay where they are when the graph moves on.
  const last = Math.floor(endSeconds / stepSeconds) * stepSeconds;
  const count = Math.floor(seconds / stepSeconds) + 1;
  const grid = { start: last - (count - 1) * stepSeconds, step: stepSeconds, count };
  const answer = await ask<QueryData>(
    'query_range',
    { query: expr, start: grid.start, end: last, step: stepSeconds },
    signal,
  );
  return { answer, tookMs: performance.now() - began, grid };
}

function Pickers({ panel, onChange }: Omit<PanelProps, 'isOnly'>) {
  const field = (name: 'range' | 'end' | 'step', label: string, placeholder: string) => (
    <label>
      <span class="soft">{label} </span>
      <input
        size={name === 'end' ? 18 : 6}
        value={panel[name]}
        placeholder={placeholder}
        onChange={(event) => onChange({ ...panel, [name]: event.currentTarget.value })}
      />
    </label>
  );
  return (
    <div class="row">
      {panel.tab === 'graph' ? (
        <>
          {['5m', '15m', '1h', '2h'].map((range) => (
            <button
              key={range}
              type="button"
              aria-pressed={panel.range === range}
              onClick={() => onChange({ ...panel, range })}
            >
              {range}
            </button>
          ))}
          {field('range', 'Range', '1h')}
          {field('step', 'Step', 'auto')}
        </>
      ) : null}
      {field('end', panel.tab === 'graph' ? 'End (UTC)' : 'Time (UTC)', 'now')}
    </div>
  );
}

interface ResultProps {
  readonly load: Load;
  readonly panel: Panel;
  readonly onChange: (panel: Panel) => void;
  readonly onCancel: () => void;
}

function Result({ load, panel, onChange, onCancel }: ResultProps) {
  if (load.kind === 'idle') return null;
  if (load.kind === 'busy') return <Busy what="Asking" onCancel={onCancel} />;
  if (load.kind === 'failed') return <Failure error={load.error} />;
  const { answer, tookMs, grid } = load;
  const { data } = answer;
  const count = data.resultType === 'vector' || data.resultType === 'matrix' ? data.result.length : 1;
  return (
    <div data-result={data.resultType}>
      <p class="soft">
        {formatCount(count)} series in {Math.round(tookMs)} ms
      </p>
      {answer.notes.map((note) => (
        <p key={note} class="state warn">
          {note}
        </p>
      ))}
      {count === 0 ? (
        <Empty
          command={`curl -s '${location.origin}/api/v1/series' --data-urlencode 'match[]=${/[a-zA-Z_:][\w:]*(?=[{[])|[a-zA-Z_:][\w:]*/.exec(panel.expr)?.[0] ?? 'up'}'`}
        >
          No series has a sample there. See which series there are, or look at another time:
        </Empty>
      ) : grid !== null && data.resultType === 'matrix' ? (
        <Graph data={data} grid={grid} panel={panel} onChange={onChange} />
      ) : (
        <Rows data={data} />
      )}
    </div>
  );
}

interface GraphProps {
  readonly data: Extract<QueryData, { resultType: 'matrix' }>;
  readonly grid: Grid;
  readonly panel: Panel;
  readonly onChange: (panel: Panel) => void;
}

/** Lines are made of the reply in slices, so that a thousand of them do not hold up the page. */
function Graph({ data, grid, panel, onChange }: GraphProps) {
  const [drawn, setDrawn] = useState<{ times: readonly number[]; lines: readonly Line[] } | null>(null);
  const [alone, setAlone] = useState<number | null>(null);
  useEffect(() => {
    let isCurrent = true;
    void columnsOf(data, grid, () => isCurrent).then((columns) => {
      if (isCurrent) setDrawn(columns);
    });
    return () => {
      isCurrent = false;
    };
  }, [data, grid]);
  if (drawn === null) return <Busy what="Drawing" />;
  const lines = alone === null ? drawn.lines : drawn.lines.filter((_, i) => i === alone);
  const zoom = (from: number, to: number): void =>
    onChange({
      ...panel,
      range: `${Math.max(1, Math.round(to - from))}s`,
      end: new Date(to * 1000).toISOString().slice(0, 19).replace('T', ' '),
    });
  return (
    <>
      <Plot times={drawn.times} lines={lines} onZoom={zoom} />
      <Legend series={data.result.map(({ metric }) => metric)} alone={alone} onAlone={setAlone} />
    </>
  );
}

async function columnsOf(data: GraphProps['data'], { start, step, count }: Grid, isCurrent: () => boolean) {
  const times = Array.from({ length: count }, (_, k) => start + k * step);
  const lines: Line[] = [];
  let sliceBegan = performance.now();
  for (const { metric, values = [] } of data.result) {
    const column: (number | null)[] = new Array(count).fill(null);
    for (const [seconds, value] of values) column[Math.round((seconds - start) / step)] = finite(value);
    lines.push({ label: formatMetric(metric), values: column });
    if (performance.now() - sliceBegan < 20) continue;
    await new Promise((resolve) => setTimeout(resolve));
    if (!isCurrent()) break;
    sliceBegan = performance.now();
  }
  return { times, lines };
}

function finite(text: string): number | null {
  const value = Number(text);
  return Number.isFinite(value) ? value : null;
}

function Legend({
  series,
  alone,
  onAlone,
}: {
  readonly series: readonly Metric[];
  readonly alone: number | null;
  readonly onAlone: (i: number | null) => void;
}) {
  return (
    <details open={series.length <= 20}>
      <summary>
        {formatCount(series.length)} series{series.length > ROWS_MAX ? `, the first ${ROWS_MAX}` : ''}
      </summary>
      {series.slice(0, ROWS_MAX).map((metric, i) => (
        <div key={formatMetric(metric)}>
          <button type="button" aria-pressed={alone === i} onClick={() => onAlone(alone === i ? null : i)}>
            <svg class="swatch" viewBox="0 0 1 1" aria-hidden="true">
              <rect width="1" height="1" fill={colourOf(alone === i ? 0 : i)} />
            </svg>
            <code>{formatMetric(metric)}</code>
          </button>
        </div>
      ))}
    </details>
  );
}

function Rows({ data }: { readonly data: QueryData }) {
  const rows: { readonly name: string; readonly value: string }[] =
    data.resultType === 'vector'
      ? data.result.map(({ metric, value, histogram }) => ({
          name: formatMetric(metric),
          value: value?.[1] ?? `histogram: count ${histogram?.[1].count}, sum ${histogram?.[1].sum}`,
        }))
      : data.resultType === 'matrix'
        ? data.result.map(({ metric, values = [] }) => ({
            name: formatMetric(metric),
            value: values.map(([seconds, value]) => `${value} @${seconds}`).join('\n'),
          }))
        : [{ name: data.resultType, value: data.result[1] }];
  return (
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th>Series</th>
            <th class="n">Value</th>
          </tr>
        </thead>
        <tbody>
          {rows.slice(0, ROWS_MAX).map(({ name, value }) => (
            <tr key={name}>
              <td class="mono">{name}</td>
              <td class="n mono">{value}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length > ROWS_MAX ? (
        <p class="soft">{formatCount(rows.length - ROWS_MAX)} more; narrow the expression to see them.</p>
      ) : null}
    </div>
  );
}

/** A plain text field at once; the editor with completion takes its place when it is loaded. */
function Expression({
  given,
  text,
  onText,
  onRun,
}: {
  readonly given: string;
  readonly text: string;
  readonly onText: (text: string) => void;
  readonly onRun: (text: string) => void;
}) {
  const box = useRef<HTMLDivElement>(null);
  const field = useRef<HTMLTextAreaElement>(null);
  const editor = useRef<{ set(text: string): void; focus(): void; close(): void } | null>(null);
  const [isLoaded, setLoaded] = useState(false);
  const latest = useRef({ onText, onRun, text });
  latest.current = { onText, onRun, text };
  useEffect(() => {
    let isOpen = true;
    void import('./editor.ts').then(({ openEditor }) => {
      if (!isOpen || box.current === null) return;
      const hadFocus = document.activeElement === field.current;
      editor.current = openEditor(box.current, {
        text: latest.current.text,
        history: recall(),
        onText: (value) => latest.current.onText(value),
        onRun: (value) => latest.current.onRun(value),
      });
      setLoaded(true);
      if (hadFocus) editor.current.focus();
    });
    const focus = (): void => (editor.current === null ? field.current?.focus() : editor.current.focus());
    addEventListener('focus-expression', focus);
    return () => {
      isOpen = false;
      editor.current?.close();
      removeEventListener('focus-expression', focus);
    };
  }, []);
  // Only what comes from outside is put into the editor: its own text, told back late, would undo what is typed meanwhile.
  useEffect(() => editor.current?.set(given), [given]);
  return (
    <>
      <div ref={box} class={isLoaded ? 'editor' : ''} data-editor={isLoaded ? 'ready' : 'loading'} />
      {isLoaded ? null : (
        <textarea
          ref={field}
          aria-label="Expression"
          rows={1}
          value={text}
          onInput={(event) => onText(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== 'Enter' || event.shiftKey) return;
            event.preventDefault();
            onRun(event.currentTarget.value);
          }}
        />
      )}
    </>
  );
}

function recall(): readonly string[] {
  try {
    return JSON.parse(localStorage.getItem('history') ?? '[]') as string[];
  } catch {
    return [];
  }
}

function remember(expr: string): void {
  localStorage.setItem(
    'history',
    JSON.stringify([expr, ...recall().filter((one) => one !== expr)].slice(0, HISTORY_MAX)),
  );
}
