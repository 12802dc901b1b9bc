/**
 * One run of a query: what it may see, what it may cost, what it has read, and its slices.
 *
 * Evaluation is a generator that yields where it may pause. Loops report their work; when a slice is over, `work` says so
 * and the loop yields. The engine then lets the event loop turn before it goes on.
 */
import type { Clock } from '../../model/clock.ts';
import { CodedError } from '../../model/errors.ts';
import type { Labels } from '../../model/labels.ts';
import type { Matcher } from '../../model/matcher.ts';
import type { Scope } from '../../model/scope.ts';
import type { HeadReader, NewestSum, Selection, SelectRequest } from '../../tsdb/head.ts';
import { Annotations } from '../annotations.ts';
import type { ReadStats } from '../result.ts';
import type { Grid } from './column.ts';
import type { SharedVectors } from './shared.ts';

/** Says whether the caller is gone: an AbortSignal, or less. Looked at between two slices. */
export interface Aborted {
  readonly aborted: boolean;
}

/** A computation in synchronous slices. */
export type Slices<T> = Generator<void, T, void>;

export interface RunOptions {
  readonly head: Pick<HeadReader, 'select' | 'selectSlices' | 'sumNewestSlices'>;
  readonly clock: Clock;
  readonly text: string;
  readonly grid: Grid;
  /** Ends of the query: what `@ start()` and `@ end()` mean. */
  readonly startMs: number;
  readonly endMs: number;
  /** 0 in an instant query. */
  readonly stepMs: number;
  readonly lookbackMs: number;
  readonly subqueryStepMs: number;
  readonly scope: Scope;
  readonly matchers: readonly Matcher[];
  readonly samplesMax: number;
  readonly resultBytesMax: number;
  readonly timeoutMs: number;
  readonly signal: Aborted | null;
  /** Throws if the query may not go on. */
  readonly admit: (() => void) | null;
  readonly delayedNameRemoval: boolean;
  readonly typeAndUnitLabels: boolean;
  /** Start timestamps take part in rates and resets. */
  readonly startTimestamps: boolean;
}

/** A selection, and which samples it is of. */
interface Selected {
  readonly fromMs: number;
  readonly toMs: number;
  readonly selection: Selection;
}

const SLICE_MS = 2;
/** Units of work (about a sample or a step each) between two looks at the clock: some tens of microseconds. */
const WORK_BETWEEN_LOOKS = 8192;
/** What a row weighs beside its samples, and what a label set weighs that is made or compared. */
export const ROW_WORK = 16;
export const LABEL_WORK = 96;

export class Run {
  readonly options: RunOptions;
  readonly annotations: Annotations;
  #work = 0;
  #slices = 0;
  #sliceEndMs: number;
  readonly #deadlineMs: number;
  #selected = 0;
  #resultBytes = 0;
  #series = 0;
  #samples = 0;
  #newestMs = -Infinity;
  readonly #open: Selection[] = [];
  /** Selections by their matchers: selectors that say the same share one. */
  readonly #selections = new Map<string, Selected[]>();
  /** Expressions that are written more than once. */
  readonly shared: SharedVectors = new Map();

  constructor(options: RunOptions) {
    this.options = options;
    this.annotations = new Annotations(options.text);
    const nowMs = options.clock.monotonicMs();
    this.#sliceEndMs = nowMs + SLICE_MS;
    this.#deadlineMs = nowMs + options.timeoutMs;
  }

  /** Adds work done; true if the slice is over and the caller should yield. */
  work(units: number): boolean {
    this.#work += units;
    if (this.#work < WORK_BETWEEN_LOOKS) return false;
    this.#work = 0;
    return this.options.clock.monotonicMs() >= this.#sliceEndMs;
  }

  /** Adds work done where there is no place to yield: the next `work` counts it. */
  noteWork(units: number): void {
    this.#work += units;
  }

  /** Begins a new slice; throws if the query's time is over, its caller is gone, or it may not go on. */
  nextSlice(): void {
    const nowMs = this.options.clock.monotonicMs();
    this.#sliceEndMs = nowMs + SLICE_MS;
    if (this.options.signal?.aborted)
      throw new CodedError('query_canceled', 'query was canceled in expression evaluation');
    if (nowMs >= this.#deadlineMs) throw new CodedError('query_timeout', 'query timed out in expression evaluation');
    // What is answered within a slice needs no memory to speak of; KEDA's own Prometheus trigger asks such things.
    if (this.#slices++ > 0) this.options.admit?.();
  }

  /**
   * Selects series with fromMs < t <= toMs under the query's scope and matchers, and charges their samples: all of them,
   * or as many as are held of each series where that is less.
   */
  *select(
    matchers: readonly Matcher[],
    fromMs: number,
    toMs: number,
    pointsEach = Number.MAX_VALUE,
  ): Slices<Selection> {
    const selection = yield* this.open(matchers, fromMs, toMs);
    this.charge(Math.min(selection.samplesMax, selection.count * pointsEach));
    return selection;
  }

  /** The same, charging nothing: for who only wants to know what there is. */
  *open(matchers: readonly Matcher[], fromMs: number, toMs: number): Slices<Selection> {
    const key = matchersKey(matchers);
    const alike = this.#selections.get(key) ?? [];
    const known = alike.find((one) => one.fromMs === fromMs && one.toMs === toMs);
    if (known !== undefined) return known.selection;
    const { scope, matchers: added } = this.options;
    const selection = yield* this.#newSelection({ matchers: [...matchers, ...added], fromMs, toMs, scope });
    if (alike.push({ fromMs, toMs, selection }) === 1) this.#selections.set(key, alike);
    this.#open.push(selection);
    this.#series += selection.count;
    return selection;
  }

  /** The sum of the newest values with fromMs < t <= toMs, charged as if selected; null where the store cannot tell. */
  *sumNewest(matchers: readonly Matcher[], fromMs: number, toMs: number): Slices<NewestSum | null> {
    const { head, scope, matchers: added } = this.options;
    if (head.sumNewestSlices === undefined) return null;
    const request = { matchers: [...matchers, ...added], fromMs, toMs, scope };
    const sum = yield* this.#paced(head.sumNewestSlices(request));
    if (sum === null) return null;
    this.charge(sum.series);
    this.#series += sum.series;
    this.noteRead(sum.samples, sum.newestMs);
    return sum;
  }

  *#newSelection(request: SelectRequest): Slices<Selection> {
    const { head } = this.options;
    if (head.selectSlices === undefined) return head.select(request);
    return yield* this.#paced(head.selectSlices(request));
  }

  /** Slices of the store, which yield the work done, as slices of this run. */
  *#paced<T>(slices: Generator<number, T, void>): Slices<T> {
    try {
      for (;;) {
        const step = slices.next();
        if (step.done) return step.value;
        if (this.work(step.value)) yield;
      }
    } finally {
      // Ends it also where the query ends in the middle.
      slices.return(undefined as never);
    }
  }

  /** Charges samples or result points that will be held in memory. */
  charge(samples: number): void {
    this.#selected += samples;
    if (this.#selected <= this.options.samplesMax) return;
    throw new CodedError(
      'query_too_large',
      'query processing would load too many samples into memory in query execution',
    );
  }

  /** Charges a series of the result: `bytes` of points, and its labels. */
  chargeResult(labels: Labels, bytes: number): void {
    let size = bytes;
    for (let i = 0; i < labels.length; i++) size += labels[i]!.length;
    this.#resultBytes += size;
    const { resultBytesMax } = this.options;
    if (this.#resultBytes <= resultBytesMax) return;
    throw new CodedError('query_too_large', `query result would be larger than ${resultBytesMax} bytes`);
  }

  /** Notes what was read: samples that are no stale markers, and the newest of them (-Infinity if there is none). */
  noteRead(samples: number, newestMs: number): void {
    this.#samples += samples;
    if (newestMs > this.#newestMs) this.#newestMs = newestMs;
  }

  readStats(): ReadStats {
    return {
      series: this.#series,
      samples: this.#samples,
      newestMs: this.#newestMs === -Infinity ? null : this.#newestMs,
    };
  }

  close(): void {
    for (const selection of this.#open) selection.close();
  }
}

/** Without the times: texts of numbers live long. */
function matchersKey(matchers: readonly Matcher[]): string {
  let key = '';
  for (const { name, type, value } of matchers) key += `\uffff${name}\uffff${type}${value}`;
  return key;
}
