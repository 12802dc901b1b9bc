/** Explore: expressions with completion, as table, graph and tree. Its address is Prometheus' own, so that links carry over. */
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { addressOf, go, NEW_PANEL, type Panel, panelsOf, secondsOf, type Tab } from './address.ts';
import { answerOf } from './answer-thread.ts';
import { type Grid, LINES_MAX, type Lines, ROWS_MAX, type Row, type Shown } from './answers.ts';
import { ExplainTree } from './explain-tree.tsx';
import { formatCount, parseSeconds } from './format.ts';
import { Busy, Empty, Failure } from './parts.tsx';
import { colourOf, Plot } from './plot.tsx';

const POINTS = 240;
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
  readonly shown: Shown;
  readonly tookMs: number;
  readonly grid: Grid | null;
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
    const shown = await answerOf({ path: 'query', parameters: { query: expr, time: endSeconds }, grid: null }, signal);
    return { shown, tookMs: performance.now() - began, grid: null };
  }
  const seconds = parseSeconds(range) ?? 3600;
  const stepSeconds = parseSeconds(step) ?? Math.max(1, Math.round(seconds / POINTS));
  // On whole steps, so that points stay where they are when the graph moves on.
  const last = Math.floor(endSeconds / stepSeconds) * stepSeconds;
  const count = Math.floor(seconds / stepSeconds) + 1;
  const grid = { start: last - (count - 1) * stepSeconds, step: stepSeconds, count };
  const parameters = { query: expr, start: grid.start, end: last, step: stepSeconds, limit: LINES_MAX };
  const shown = await answerOf({ path: 'query_range', parameters, grid }, signal);
  return { shown, tookMs: performance.now() - began, grid };
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
  const { shown, tookMs, grid } = load;
  const { resultType, count, notes, rows, lines } = shown;
  return (
    <div data-result={resultType}>
      <p class="soft">
        {formatCount(count)} series in {Math.round(tookMs)} ms
      </p>
      {lines !== null && count >= LINES_MAX ? (
        <p class="state warn">Only the first {formatCount(LINES_MAX)} series are drawn: narrow the expression.</p>
      ) : null}
      {notes.map((note) => (
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
      ) : grid !== null && lines !== null ? (
        <Graph lines={lines} grid={grid} panel={panel} onChange={onChange} />
      ) : (
        <Rows rows={rows} count={count} />
      )}
    </div>
  );
}

interface GraphProps {
  readonly lines: Lines;
  readonly grid: Grid;
  readonly panel: Panel;
  readonly onChange: (panel: Panel) => void;
}

function Graph({ lines: { labels, values }, grid, panel, onChange }: GraphProps) {
  const [alone, setAlone] = useState<number | null>(null);
  const { start, step, count } = grid;
  const times = useMemo(() => Array.from({ length: count }, (_, k) => start + k * step), [grid]);
  const all = useMemo(
    () => labels.map((label, i) => ({ label, values: values.subarray(i * count, (i + 1) * count) })),
    [labels, values],
  );
  const drawn = useMemo(() => (alone === null ? all : all.filter((_, i) => i === alone)), [all, alone]);
  const zoom = (from: number, to: number): void =>
    onChange({
      ...panel,
      range: `${Math.max(1, Math.round(to - from))}s`,
      end: new Date(to * 1000).toISOString().slice(0, 19).replace('T', ' '),
    });
  return (
    <>
      <Plot times={times} lines={drawn} onZoom={zoom} />
      <Legend labels={labels} alone={alone} onAlone={setAlone} />
    </>
  );
}

interface LegendProps {
  readonly labels: readonly string[];
  readonly alone: number | null;
  readonly onAlone: (i: number | null) => void;
}

function Legend({ labels, alone, onAlone }: LegendProps) {
  return (
    <details open={labels.length <= 20}>
      <summary>
        {formatCount(labels.length)} series{labels.length > ROWS_MAX ? `, the first ${ROWS_MAX}` : ''}
      </summary>
      {labels.slice(0, ROWS_MAX).map((label, i) => (
        <div key={label}>
          <button type="button" aria-pressed={alone === i} onClick={() => onAlone(alone === i ? null : i)}>
            <svg class="swatch" viewBox="0 0 1 1" aria-hidden="true">
              <rect width="1" height="1" fill={colourOf(alone === i ? 0 : i)} />
            </svg>
            <code>{label}</code>
          </button>
        </div>
      ))}
    </details>
  );
}

function Rows({ rows, count }: { readonly rows: readonly Row[]; readonly count: number }) {
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
          {rows.map(({ name, value }) => (
            <tr key={name}>
              <td class="mono">{name}</td>
              <td class="n mono">{value}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {count > rows.length ? (
        <p class="soft">{formatCount(count - rows.length)} more; narrow the expression to see them.</p>
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
