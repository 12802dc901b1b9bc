/** Asks the daemon: the envelope of the query API, its errors as exceptions, and the shapes that pages read. */

interface Envelope<T> {
  readonly status: string;
  readonly data?: T;
  readonly error?: string;
  readonly warnings?: readonly string[];
  readonly infos?: readonly string[];
}

export interface Answer<T> {
  readonly data: T;
  readonly notes: readonly string[];
}

/** An answer that is no success; `status` is HTTP's. */
export class RequestError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export type Parameters = Readonly<Record<string, string | number | null | undefined>>;

export async function ask<T>(path: string, parameters: Parameters = {}, signal?: AbortSignal): Promise<Answer<T>> {
  const form = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters))
    if (value != null && value !== '') form.set(name, String(value));
  const query = form.size === 0 ? '' : `?${form}`;
  const reply = await fetch(`/api/v1/${path}${query}`, signal === undefined ? {} : { signal });
  const text = await reply.text();
  let envelope: Envelope<T>;
  try {
    envelope = JSON.parse(text) as Envelope<T>;
  } catch {
    throw new RequestError(reply.status, text.trim() || `the daemon answered ${reply.status}`);
  }
  if (envelope.status !== 'success') throw new RequestError(reply.status, envelope.error ?? text);
  return { data: envelope.data as T, notes: [...(envelope.warnings ?? []), ...(envelope.infos ?? [])] };
}

export type Metric = Readonly<Record<string, string>>;
export type Point = readonly [seconds: number, value: string];

export interface Decision {
  readonly id: number;
  readonly time: string;
  readonly surface: string;
  readonly namespace: string;
  readonly name: string;
  readonly query: string;
  readonly policy: string;
  readonly target: number | null;
  readonly activation: number | null;
  readonly outcome: string;
  readonly value: number | null;
  readonly reason: string;
  readonly newest: string | null;
  readonly ageSeconds: number | null;
  readonly series: number;
  readonly sourcesExpected: number;
  readonly sourcesSeen: number;
  readonly latencyMs: number;
}

/** What a trigger or metric was told lately. */
export interface Subject {
  readonly key: string;
  readonly last: Decision;
  /** Seconds and value, oldest first. */
  readonly points: readonly (readonly [seconds: number, value: number | null])[];
}

export interface TsdbStatus {
  readonly headStats: { readonly numSeries: number; readonly numLabelPairs: number; readonly chunkCount: number };
  readonly seriesCountByMetricName: readonly NamedCount[];
  readonly labelValueCountByLabelName: readonly NamedCount[];
  readonly memoryInBytesByLabelName: readonly NamedCount[];
  readonly seriesCountByLabelValuePair: readonly NamedCount[];
}

export interface NamedCount {
  readonly name: string;
  readonly value: number;
}
