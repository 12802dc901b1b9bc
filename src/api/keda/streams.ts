/**
 * Push: the two streams that KEDA opens for a trigger of type `external-push`.
 *
 * StreamIsActive sends `true` when the trigger becomes active, at once, and again at growing intervals while it stays so;
 * never `false`, which KEDA ignores. No data and failed evaluations mean not active and keep the stream open; only
 * metadata that cannot be used ends it with an error. StreamMetricSpec sends the current specification and nothing more.
 * When the port closes, every stream ends with OK: after any other end KEDA waits longer each time before it comes back.
 */
import { CodedError, type ErrorCode } from '../../model/errors.ts';
import { LIMITS } from '../../model/limits.ts';
import type { Matcher } from '../../model/matcher.ts';
import type { QueryEngine } from '../../promql/engine.ts';
import { parseMetricQuery } from '../../scaling/kedify/metric-query.ts';
import type { OriginalNames } from '../../scaling/kedify/original-names.ts';
import { activityOf, type Reading } from '../../scaling/reading.ts';
import type { Subscriptions } from '../../scaling/subscriptions.ts';
import type { ReplyStream } from '../grpc/server.ts';
import { encodeSpec, readTrigger, type ScalerDependencies, scopeOf } from './external-scaler.ts';
import { decodeScaledObjectRef, encodeIsActive, type ScaledObjectRef } from './messages.ts';
import { parseTrigger, type Trigger } from './trigger.ts';

export interface PushDependencies {
  readonly subscriptions: Pick<Subscriptions, 'subscribe'>;
  readonly engine: Pick<QueryEngine, 'selectors'>;
  readonly names: Pick<OriginalNames, 'find'>;
}

type Ends = (stream: ReplyStream, error: CodedError | null) => void;

/** Errors that no time and no sample will mend. */
const HOPELESS: readonly ErrorCode[] = ['bad_metadata', 'bad_data', 'query_unsupported'];
/** Functions and modifiers whose answer may change though no sample comes. */
const READS_TIME =
  /\b(?:time|timestamp|minute|hour|day_of_\w+|days_in_month|month|year|absent|absent_over_time)\s*\(|\boffset\b|@/;

const ACTIVE = encodeIsActive(true);

export class PushStreams {
  readonly #dependencies: ScalerDependencies & PushDependencies;
  /** Called once for every stream that ends. */
  readonly #onEnd: Ends;
  /** Open streams, and what ends their subscription. */
  readonly #open = new Map<ReplyStream, () => void>();

  constructor(dependencies: ScalerDependencies & PushDependencies, onEnd: Ends) {
    this.#dependencies = dependencies;
    this.#onEnd = onEnd;
  }

  /** Throws a `CodedError` if the stream cannot be opened. */
  openIsActive(stream: ReplyStream): void {
    this.#admit();
    const ref = decodeScaledObjectRef(stream.request);
    const trigger = parseTrigger(ref.metadata);
    const { namespace } = stream.who;
    const dependencies = { ...this.#dependencies, namespace };
    const { subscriptions, tenancy } = dependencies;
    const selectors = this.#selectorsOf(trigger);
    this.#add(stream, () => {});
    const unsubscribe = subscriptions.subscribe({
      selectors,
      scope: scopeOf(ref, tenancy, namespace),
      ticks: trigger.kind === 'promql' && (READS_TIME.test(trigger.query) || selectors().length === 0),
      evaluate: () => this.#isActive(stream, ref, trigger, dependencies),
      tell: () => {
        // What is on its way already says all there is to say.
        if (stream.isBlocked || !this.#open.has(stream)) return;
        stream.write(ACTIVE);
        // What an autoscaler was told is kept like every other answer to it.
        void readTrigger('StreamIsActive', ref, trigger, dependencies).catch(() => {});
      },
    });
    if (this.#open.has(stream)) this.#open.set(stream, unsubscribe);
    else unsubscribe();
  }

  /** Throws a `CodedError` if the stream cannot be opened. */
  openMetricSpec(stream: ReplyStream): void {
    this.#admit();
    stream.write(encodeSpec(decodeScaledObjectRef(stream.request)));
    this.#add(stream, () => {});
  }

  /** Ends every stream with OK. */
  close(): void {
    for (const stream of [...this.#open.keys()]) this.#end(stream, null);
  }

  get size(): number {
    return this.#open.size;
  }

  #admit(): void {
    if (this.#open.size < LIMITS.pushStreamsMax) return;
    throw new CodedError('overloaded', `cannot open a push stream: got ${this.#open.size}, want at most that many`);
  }

  #add(stream: ReplyStream, close: () => void): void {
    this.#open.set(stream, close);
    stream.onOver(() => this.#end(stream, null));
  }

  #end(stream: ReplyStream, error: CodedError | null): void {
    const close = this.#open.get(stream);
    if (close === undefined) return;
    this.#open.delete(stream);
    close();
    this.#onEnd(stream, error);
  }

  async #isActive(
    stream: ReplyStream,
    ref: ScaledObjectRef,
    trigger: Trigger,
    dependencies: ScalerDependencies,
  ): Promise<boolean> {
    const reading: Reading = await readTrigger(null, ref, trigger, dependencies);
    if (reading.kind === 'absence' && HOPELESS.includes(reading.code))
      this.#end(stream, new CodedError(reading.code, reading.reason));
    // What came so far may say that there is work, even while it is too little for a value.
    return activityOf(reading, trigger.activationTargetValue) === true;
  }

  /** What the trigger reads. A query that cannot be parsed reads nothing, and its evaluation says why. */
  #selectorsOf(trigger: Trigger): () => readonly (readonly Matcher[])[] {
    const { engine, names } = this.#dependencies;
    return () => {
      try {
        if (trigger.kind === 'promql') return engine.selectors(trigger.query);
        const { metric } = parseMetricQuery(trigger.metricQuery);
        return names.find(metric).map(({ name }) => [{ type: '=', name: '__name__', value: name }]);
      } catch (error) {
        if (error instanceof CodedError) return [];
        throw error;
      }
    };
  }
}
