/** A small client of the Prometheus HTTP API, for what the journeys ask. */
import { parseValue } from './exposition.ts';

export interface InstantSeries {
  readonly labels: Readonly<Record<string, string>>;
  readonly timeMs: number;
  readonly value: number;
}

export interface RangeSeries {
  readonly labels: Readonly<Record<string, string>>;
  /** Points in order of time, as `[timeMs, value]`. */
  readonly points: readonly (readonly [timeMs: number, value: number])[];
}

interface Reply {
  readonly status: string;
  readonly error?: string;
  readonly data: {
    readonly resultType: string;
    readonly result: readonly {
      readonly metric: Readonly<Record<string, string>>;
      readonly value: readonly [number, string];
      readonly values: readonly (readonly [number, string])[];
    }[];
  };
}

/** Instant vector of an expression at a time (now, if none is given). */
export async function instantVector(web: string, query: string, timeMs?: number): Promise<readonly InstantSeries[]> {
  const data = await ask(web, query, timeMs, 'vector');
  return data.result.map((one) => ({
    labels: one.metric,
    timeMs: toMs(one.value[0]),
    value: parseValue(one.value[1]),
  }));
}

/** Raw samples of a range selector such as `x[1m]`. */
export async function rangeVector(web: string, query: string, timeMs?: number): Promise<readonly RangeSeries[]> {
  const data = await ask(web, query, timeMs, 'matrix');
  return data.result.map((one) => ({
    labels: one.metric,
    points: one.values.map(([seconds, text]) => [toMs(seconds), parseValue(text)] as const),
  }));
}

/** The value of an expression with exactly one series. */
export async function oneValue(web: string, query: string, timeMs?: number): Promise<number> {
  const vector = await instantVector(web, query, timeMs);
  if (vector.length !== 1) throw new Error(`cannot read ${query}: got ${vector.length} series, want 1`);
  return vector[0]!.value;
}

async function ask(web: string, query: string, timeMs: number | undefined, resultType: string): Promise<Reply['data']> {
  const form = new URLSearchParams({ query });
  if (timeMs !== undefined) form.set('time', (timeMs / 1000).toFixed(3));
  const reply = await fetch(`http://${web}/api/v1/query`, { method: 'POST', body: form });
  const body = (await reply.json()) as Reply;
  if (body.status !== 'success') throw new Error(`cannot query ${query}: got ${reply.status} ${body.error}`);
  if (body.data.resultType !== resultType)
    throw new Error(`cannot query ${query}: got ${body.data.resultType}, want ${resultType}`);
  return body.data;
}

function toMs(seconds: number): number {
  return Math.round(seconds * 1000);
}
