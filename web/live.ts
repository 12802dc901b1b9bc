/** What the daemon pushes: decisions of autoscalers, and its own metrics for the pages that show them. */
import { useEffect, useState } from 'preact/hooks';
import type { Decision, Subject } from './api.ts';

/** Points kept of each subject. */
const POINTS_MAX = 240;

export interface Live {
  /** Null until the first event. */
  readonly subjects: ReadonlyMap<string, Subject> | null;
  readonly connected: boolean;
}

/** Follows the decisions; the browser reconnects by itself, and the daemon then begins with everything again. */
export function useDecisions(): Live {
  const [live, setLive] = useState<Live>({ subjects: null, connected: false });
  useEffect(() => {
    const source = new EventSource('/api/v1/live/decisions');
    source.addEventListener('snapshot', (event) => {
      const list = JSON.parse((event as MessageEvent<string>).data) as readonly Subject[];
      setLive({ subjects: new Map(list.map((subject) => [subject.key, subject])), connected: true });
    });
    source.addEventListener('decisions', (event) => {
      const list = JSON.parse((event as MessageEvent<string>).data) as readonly { key: string; decision: Decision }[];
      setLive(({ subjects }) => ({ subjects: withDecisions(subjects ?? new Map(), list), connected: true }));
    });
    source.onerror = () => setLive(({ subjects }) => ({ subjects, connected: false }));
    return () => source.close();
  }, []);
  return live;
}

function withDecisions(
  subjects: ReadonlyMap<string, Subject>,
  list: readonly { readonly key: string; readonly decision: Decision }[],
): ReadonlyMap<string, Subject> {
  const next = new Map(subjects);
  for (const { key, decision } of list) {
    const before = next.get(key)?.points ?? [];
    const point = [Date.parse(decision.time) / 1000, decision.value] as const;
    next.set(key, { key, last: decision, points: [...before, point].slice(-POINTS_MAX) });
  }
  return next;
}

/** Own metrics by name and labels as `/metrics` writes them, and what each gained a second since the event before. */
export interface OwnMetrics {
  readonly values: ReadonlyMap<string, number>;
  readonly perSecond: ReadonlyMap<string, number>;
}

export function useOwnMetrics(): OwnMetrics | null {
  const [metrics, setMetrics] = useState<OwnMetrics | null>(null);
  useEffect(() => {
    const source = new EventSource('/api/v1/live/metrics');
    let before: { readonly atMs: number; readonly values: ReadonlyMap<string, number> } | null = null;
    source.addEventListener('metrics', (event) => {
      const values = new Map(JSON.parse((event as MessageEvent<string>).data) as [string, number][]);
      const atMs = performance.now();
      const perSecond = new Map<string, number>();
      if (before !== null) {
        for (const [name, value] of values) {
          perSecond.set(name, ((value - (before.values.get(name) ?? 0)) * 1000) / (atMs - before.atMs));
        }
      }
      before = { atMs, values };
      setMetrics({ values, perSecond });
    });
    return () => source.close();
  }, []);
  return metrics;
}
