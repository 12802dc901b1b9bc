/**
 * Runs cases in the form of the conformance corpus of KEDA (its README has it) through real sockets: OTLP in, gRPC and
 * HTTP out, with a clock and timers that the case moves. The daemon began to listen at second 0.
 */
import { isDeepStrictEqual } from 'node:util';
import type { KedifySettings } from '../../../src/scaling/kedify/kedify-readings.ts';
import { parseQuantity } from '../../../src/scaling/quantity.ts';
import { KedaClient, type Trigger, toMilli } from '../../support/keda-client.ts';
import { KedaStack } from '../../support/keda-stack.ts';
import { START_MS } from '../../support/scaling-stack.ts';
import { type CasePoint, encodePoint } from './otlp-points.ts';

export interface KedaCase {
  readonly id: string;
  readonly given: { readonly points: readonly CasePoint[]; readonly config?: CaseConfig };
  readonly trigger?: {
    readonly type?: 'external' | 'external-push' | 'prometheus' | 'metrics-api';
    readonly metadata: Readonly<Record<string, string>>;
    readonly requestMetricName?: string;
  };
  readonly rest?: { readonly method: string; readonly path: string; readonly body?: unknown };
  readonly at: number;
  readonly expect: Expectation;
}

interface CaseConfig {
  readonly retentionSeconds?: number;
  readonly errIfNotFound?: boolean;
  readonly valueIfNotFound?: number;
  readonly lenientLabels?: boolean;
  readonly notFoundCoversEmpty?: boolean;
}

interface Expectation {
  readonly spec?: { readonly name?: string; readonly float: number; readonly int: number };
  readonly metrics?: { readonly name?: string; readonly float: number; readonly int: number };
  readonly active?: boolean;
  readonly error?: { readonly on: readonly string[]; readonly code: string; readonly text: string };
  readonly stream?: { readonly until: number; readonly trueAt: readonly number[] };
  readonly http?: {
    readonly status: number;
    readonly body?: unknown;
    readonly resultType?: string;
    readonly values?: readonly string[];
  };
  readonly keda?: {
    readonly hpaMetric?: string;
    readonly targetMilli?: number;
    readonly milli?: number;
    readonly active?: boolean;
    readonly error?: boolean;
  };
}

const CODES: Readonly<Record<string, number>> = {
  INVALID_ARGUMENT: 3,
  NOT_FOUND: 5,
  DEADLINE_EXCEEDED: 4,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  UNIMPLEMENTED: 12,
  UNAVAILABLE: 14,
  UNAUTHENTICATED: 16,
};
const TOLERANCE = 1e-5;
const STREAM_TOLERANCE_S = 0.2;
const STREAM_STEP_MS = 100;

/** What is wrong, one line each; nothing if the case passes. */
export async function runCase(one: KedaCase): Promise<readonly string[]> {
  const stack = new KedaStack({ uptimeMs: 0, kedify: settingsOf(one.given.config ?? {}) });
  const run = new CaseRun(one, stack);
  try {
    return await run.complaints();
  } finally {
    await run.close();
  }
}

function settingsOf(config: CaseConfig): Partial<KedifySettings> {
  return {
    ...(config.retentionSeconds === undefined ? {} : { windowMs: config.retentionSeconds * 1000 }),
    ...(config.errIfNotFound === undefined ? {} : { errorIfNotFound: config.errIfNotFound }),
    ...(config.valueIfNotFound === undefined ? {} : { valueIfNotFound: config.valueIfNotFound }),
    ...(config.lenientLabels === undefined ? {} : { lenientLabels: config.lenientLabels }),
    ...(config.notFoundCoversEmpty === undefined ? {} : { notFoundCoversEmpty: config.notFoundCoversEmpty }),
  };
}

class CaseRun {
  readonly #case: KedaCase;
  readonly #stack: KedaStack;
  readonly #complaints: string[] = [];
  #client: KedaClient | null = null;
  #otlp = '';
  #web = '';

  constructor(one: KedaCase, stack: KedaStack) {
    this.#case = one;
    this.#stack = stack;
  }

  async complaints(): Promise<readonly string[]> {
    const { given, at, trigger, rest } = this.#case;
    this.#otlp = await this.#stack.openOtlp();
    for (const point of given.points) if ((point.atSecond ?? 0) <= at) await this.#deliver(point);
    await this.#moveTo(at);
    if (rest !== undefined) {
      this.#web = await this.#stack.openWeb();
      await this.#checkRest();
    } else if (trigger?.type === 'prometheus' || trigger?.type === 'metrics-api') {
      this.#web = await this.#stack.openWeb();
      await (trigger.type === 'prometheus' ? this.#checkPrometheus() : this.#checkMetricsApi());
    } else {
      this.#client = new KedaClient((await this.#stack.openKeda()).address);
      await this.#checkExternal(this.#client);
    }
    return this.#complaints;
  }

  async close(): Promise<void> {
    this.#client?.close();
    await this.#stack.close();
  }

  /** Sends a point when its time has come; a later one may be of an earlier time. */
  async #deliver(point: CasePoint): Promise<void> {
    await this.#moveTo(point.atSecond ?? 0);
    const reply = await fetch(`http://${this.#otlp}/v1/metrics`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-protobuf' },
      body: encodePoint(point, START_MS),
    });
    const body = Buffer.from(await reply.arrayBuffer());
    const isExpected = point.atSecond !== null;
    if (isExpected && (reply.status !== 200 || body.length > 0)) {
      this.#complain(`a point of ${point.metric} was refused: ${body.toString('latin1').replace(/[^ -~]+/g, ' ')}`);
    }
  }

  async #moveTo(second: number): Promise<void> {
    const aheadMs = START_MS + second * 1000 - this.#stack.clock.nowMs();
    if (aheadMs > 0) await this.#stack.timers.advance(aheadMs);
  }

  async #checkExternal(client: KedaClient): Promise<void> {
    const { trigger, expect } = this.#case;
    const asked: Trigger = { namespace: 'default', name: 'so1', metadata: trigger!.metadata };
    let name = trigger!.requestMetricName ?? 'm';
    if (expect.spec !== undefined || expect.keda?.hpaMetric !== undefined) {
      const [spec, ...more] = await client.getMetricSpec(asked);
      if (spec === undefined || more.length > 0) this.#complain('not exactly one metric specification');
      else {
        name = trigger!.requestMetricName ?? spec.metricName;
        this.#number('spec', expect.spec, spec.metricName, spec.targetSizeFloat, spec.targetSize);
        this.#same('hpaMetric', expect.keda?.hpaMetric, `s0-${spec.metricName}`);
        const target = spec.targetSizeFloat > 0 ? spec.targetSizeFloat : Number(spec.targetSize);
        this.#same('targetMilli', expect.keda?.targetMilli, toMilli(target));
      }
    }
    await this.#checkValue(client, asked, name);
    const active = expect.active ?? expect.keda?.active;
    if (active !== undefined) this.#same('active', active, await client.isActive(asked));
    if (expect.keda?.error !== undefined) {
      this.#same('error', expect.keda.error, (await client.poll(asked)).kind === 'error');
    }
    await this.#checkErrors(client, asked, name);
    if (expect.stream !== undefined) await this.#checkStream(client, asked, expect.stream);
  }

  async #checkValue(client: KedaClient, asked: Trigger, name: string): Promise<void> {
    const { expect } = this.#case;
    if (expect.metrics === undefined && expect.keda?.milli === undefined) return;
    const [value, ...more] = await client.getMetrics(asked, name);
    if (value === undefined || more.length > 0) return this.#complain('not exactly one metric value');
    this.#number('metrics', expect.metrics, value.metricName, value.metricValueFloat, value.metricValue);
    const number = value.metricValueFloat > 0 ? value.metricValueFloat : Number(value.metricValue);
    this.#same('milli', expect.keda?.milli, toMilli(number));
  }

  async #checkErrors(client: KedaClient, asked: Trigger, name: string): Promise<void> {
    const { error } = this.#case.expect;
    for (const on of error?.on ?? []) {
      const call: Promise<unknown> =
        on === 'GetMetricSpec'
          ? client.getMetricSpec(asked)
          : on === 'IsActive'
            ? client.isActive(asked)
            : client.getMetrics(asked, name);
      await call.then(
        (answer) => this.#complain(`${on} answers ${JSON.stringify(answer, bigText)}, want ${error!.code}`),
        ({ code, details }: { readonly code: number; readonly details: string }) => {
          this.#same(`code of ${on}`, CODES[error!.code], code);
          if (!details?.includes(error!.text)) this.#complain(`${on} says "${details}", want "${error!.text}" in it`);
        },
      );
    }
  }

  /** Time goes on in small steps; after each one, what the daemon wrote until then has come, for it shares a connection with a call. */
  async #checkStream(client: KedaClient, asked: Trigger, { until, trueAt }: NonNullable<Expectation['stream']>) {
    const { given, at } = this.#case;
    const later = given.points.filter(({ atSecond }) => atSecond !== null && atSecond > at);
    const second = () => (this.#stack.clock.nowMs() - START_MS) / 1000;
    const seen: number[] = [];
    const stream = client.open('StreamIsActive', asked, () => seen.push(second()));
    let ended: number | null = null;
    void stream.ended.then((status) => {
      ended = status;
    });
    const flush = () => client.callBytes('/grpc.health.v1.Health/Check', Buffer.alloc(0));
    await flush();
    await flush();
    while (second() < until) {
      await this.#stack.timers.advance(STREAM_STEP_MS);
      while (later.length > 0 && later[0]!.atSecond! <= second() + 1e-9) await this.#deliver(later.shift()!);
      await flush();
    }
    if (stream.messages.some(({ result }) => result !== true))
      this.#complain('the stream sends something else than true');
    const isRight =
      seen.length === trueAt.length && seen.every((s, i) => Math.abs(s - trueAt[i]!) <= STREAM_TOLERANCE_S);
    if (!isRight) this.#complain(`the stream sends true at ${seen.join(', ')}, want ${trueAt.join(', ')}`);
    if (ended !== null) this.#complain(`the stream ended with status ${ended}`);
    stream.cancel();
  }

  async #checkRest(): Promise<void> {
    const { rest, expect } = this.#case;
    const { method, path, body } = rest!;
    const reply = await fetch(`http://${this.#web}${path}`, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    });
    this.#same('status', expect.http?.status, reply.status);
    if (expect.http?.body !== undefined) this.#same('body', expect.http.body, await reply.json());
  }

  /** The request as KEDA's prometheus scaler writes it, and what it makes of the reply. */
  async #checkPrometheus(): Promise<void> {
    const { trigger, expect } = this.#case;
    const { serverAddress, query, threshold, namespace, ignoreNullValues = 'true' } = trigger!.metadata;
    const time = `${new Date(this.#stack.clock.nowMs()).toISOString().slice(0, 19)}Z`;
    const form = new URLSearchParams({ query: query! }).toString();
    const scope = namespace === undefined ? '' : `&namespace=${namespace}`;
    const reply = await fetch(`${serverAddress!.replace('HOST', this.#web)}/api/v1/query?${form}&time=${time}${scope}`);
    const body = (await reply.json()) as PromReply;
    this.#same('status', expect.http?.status, reply.status);
    this.#same('resultType', expect.http?.resultType, body.data?.resultType);
    if (expect.http?.values !== undefined) {
      this.#same('values', [...expect.http.values].sort(), [...valuesOf(body)].sort());
    }
    if (expect.http?.body !== undefined) this.#same('body', expect.http.body, body);
    const value = kedaValue(reply.status, body, ignoreNullValues === 'true');
    this.#same('error', expect.keda?.error, value === null);
    this.#same('hpaMetric', expect.keda?.hpaMetric, 's0-prometheus');
    this.#same('milli', expect.keda?.milli, value === null ? null : toMilli(value));
    const threshold0 = Number(trigger!.metadata.activationThreshold ?? 0);
    this.#same('active', expect.keda?.active, value === null ? null : value > threshold0);
    if (threshold === undefined) this.#complain('the case has no threshold');
  }

  async #checkMetricsApi(): Promise<void> {
    const { trigger, expect } = this.#case;
    const { url, valueLocation, activationTargetValue = '0' } = trigger!.metadata;
    const reply = await fetch(url!.replace('HOST', this.#web));
    const body = (await reply.json()) as unknown;
    const found = valueLocation!
      .split('.')
      .reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], body);
    const value = reply.status === 200 ? numberOf(found) : null;
    this.#same('status', expect.http?.status ?? (expect.keda?.error === true ? undefined : 200), reply.status);
    if (expect.http?.body !== undefined) this.#same('body', expect.http.body, body);
    this.#same('error', expect.keda?.error, value === null);
    this.#same('hpaMetric', expect.keda?.hpaMetric, `s0-metric-api-${valueLocation!.replace(/[/.:%()]/g, '-')}`);
    this.#same('milli', expect.keda?.milli, value === null ? null : toMilli(value));
    this.#same('active', expect.keda?.active, value === null ? null : value > Number(activationTargetValue));
  }

  #number(
    what: string,
    want: { readonly name?: string; readonly float: number; readonly int: number } | undefined,
    name: string,
    float: number,
    int: bigint,
  ): void {
    if (want === undefined) return;
    this.#same(`${what}.name`, want.name, name);
    if (!(Math.abs(float - want.float) <= TOLERANCE)) this.#complain(`${what}.float is ${float}, want ${want.float}`);
    this.#same(`${what}.int`, BigInt(want.int), int);
  }

  /** Nothing is wanted where the case says nothing. */
  #same(what: string, want: unknown, got: unknown): void {
    if (want === undefined) return;
    const [wanted, gotten] = [want, got].map((one) => JSON.stringify(one, bigText));
    if (!isDeepStrictEqual(want, got)) this.#complain(`${what} is ${gotten}, want ${wanted}`);
  }

  #complain(text: string): void {
    this.#complaints.push(text);
  }
}

interface PromReply {
  readonly data?: {
    readonly resultType: string;
    readonly result: readonly { readonly value?: readonly [number, string] }[];
  };
}

/** What a reply holds: one text an element of a vector, or that of a scalar or a string. */
function valuesOf({ data }: PromReply): readonly string[] {
  if (data === undefined) return [];
  if (data.resultType === 'vector') return data.result.map(({ value }) => value![1]);
  return data.resultType === 'matrix' ? [] : [(data.result as unknown as readonly [number, string])[1]];
}

/** What KEDA's metrics-api scaler makes of what it found: a number, or text that is a quantity; else null. */
function numberOf(found: unknown): number | null {
  if (typeof found === 'number') return Number.isFinite(found) ? found : null;
  try {
    return Number(parseQuantity(String(found))) / 1e9;
  } catch {
    return null;
  }
}

/** KEDA's prometheus scaler: the value, or null for an error. */
function kedaValue(status: number, { data }: PromReply, ignoresNull: boolean): number | null {
  const isList = data?.resultType === 'vector' || data?.resultType === 'matrix';
  if (status < 200 || status > 299 || !isList || data.result.length > 1) return null;
  // The one series of a range has no `value`: for KEDA that is as empty as nothing.
  const text = data.result[0]?.value?.[1];
  const value = text === undefined ? Number.NaN : Number(text.replace('Inf', 'Infinity'));
  if (Number.isFinite(value)) return value;
  return ignoresNull ? 0 : null;
}

function bigText(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}
