/** Addresses: how they change, and panels of the Explore place in them, in the form that Prometheus uses: `/query?g0.expr=up&g0.tab=graph&…`. */

export type Tab = 'table' | 'graph' | 'explain';

export interface Panel {
  readonly expr: string;
  readonly tab: Tab;
  /** Length of the graph as text, such as `1h`. */
  readonly range: string;
  /** End of the graph and time of the table, as `2026-11-22 10:00:00` in UTC; '' is now. */
  readonly end: string;
  /** Seconds between two points; '' is what fits. */
  readonly step: string;
}

export const NEW_PANEL: Panel = { expr: '', tab: 'graph', range: '1h', end: '', step: '' };

/** Old links of Prometheus 2 have numbers: 0 is the graph. */
const TABS: Readonly<Record<string, Tab>> = {
  '0': 'graph',
  '1': 'table',
  graph: 'graph',
  table: 'table',
  explain: 'explain',
  tree: 'explain',
};

export function panelsOf(parameters: URLSearchParams): readonly Panel[] {
  const panels: Panel[] = [];
  for (let i = 0; parameters.has(`g${i}.expr`); i++) {
    const of = (name: string): string | null => parameters.get(`g${i}.${name}`);
    panels.push({
      expr: of('expr')!,
      tab: TABS[of('tab') ?? ''] ?? 'table',
      range: of('range_input') ?? NEW_PANEL.range,
      end: of('end_input') ?? of('moment_input') ?? '',
      step: of('res_step') ?? of('step_input') ?? '',
    });
  }
  return panels.length === 0 ? [NEW_PANEL] : panels;
}

export function addressOf(panels: readonly Panel[]): string {
  const parameters = new URLSearchParams();
  for (const [i, { expr, tab, range, end, step }] of panels.entries()) {
    parameters.set(`g${i}.expr`, expr);
    parameters.set(`g${i}.tab`, tab);
    parameters.set(`g${i}.range_input`, range);
    if (end !== '') parameters.set(`g${i}.end_input`, end);
    if (step !== '') parameters.set(`g${i}.step_input`, step);
  }
  return `/query?${parameters}`;
}

/** Seconds since 1970 of an `end`, or null for now and for what is no time. */
export function secondsOf(end: string): number | null {
  if (end === '') return null;
  const ms = Date.parse(`${end.trim().replace(' ', 'T')}${/Z|[+-]\d\d:?\d\d$/.test(end) ? '' : 'Z'}`);
  return Number.isNaN(ms) ? null : ms / 1000;
}

/** Changes the address without loading the page again. */
export function go(url: string, replace = false): void {
  if (replace) history.replaceState(null, '', url);
  else history.pushState(null, '', url);
  dispatchEvent(new PopStateEvent('popstate'));
}
