/** `tidegauge top`: what autoscalers are told, newest first, drawn again every two seconds. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Call } from './cli.ts';
import { short, tableText } from './table.ts';

interface Decision {
  readonly time: string;
  readonly surface: string;
  readonly namespace: string;
  readonly name: string;
  readonly query: string;
  readonly target: number | null;
  readonly value: number | null;
  readonly outcome: string;
  readonly reason: string;
  readonly ageSeconds: number | null;
}

const PERIOD_MS = 2000;
const CLEAR = '\u001b[H\u001b[2J';

export async function showTop({ options, io, source }: Call): Promise<number> {
  for (;;) {
    const { decisions } = await source.ask<{ readonly decisions: readonly Decision[] }>('scale/decisions', {
      limit: '1000',
    });
    const text = topText(decisions, io.columns);
    if (options.once === true || !io.isTerminal) {
      io.write(text);
      return 0;
    }
    io.write(`${CLEAR}${new Date().toISOString()}\n${text}`);
    await pause(PERIOD_MS);
  }
}

export function topText(decisions: readonly Decision[], columns: number): string {
  const newest = new Map<string, Decision>();
  for (const decision of decisions) {
    const key = [decision.surface, decision.namespace, decision.name, decision.query].join(' ');
    if (!newest.has(key)) newest.set(key, decision);
  }
  if (newest.size === 0) return 'No autoscaler has asked yet: point a trigger of type external at port 6000.\n';
  const rows = [...newest.values()].map((one) => [
    one.namespace === '' ? one.name : `${one.namespace}/${one.name}`,
    one.outcome,
    short(one.value),
    short(one.target),
    one.value === null || one.target === null || one.target <= 0
      ? '-'
      : String(Math.ceil(one.value / one.target - 1e-9)),
    one.ageSeconds === null ? '-' : `${one.ageSeconds.toFixed(1)}s`,
    one.reason === '' ? one.query : one.reason,
  ]);
  const text = tableText(['TRIGGER', 'STATE', 'VALUE', 'TARGET', 'REPLICAS', 'AGE', 'WHY'], rows, [
    'VALUE',
    'TARGET',
    'REPLICAS',
    'AGE',
  ]);
  return text.replaceAll(/^.*$/gm, (line) => line.slice(0, columns));
}
