/**
 * Evaluations that those who ask the same share within an interval; nobody is given one twice, so that who asks again sees
 * what is new.
 *
 * There is one for each trigger, made anew every few seconds: as objects they would live long enough to get onto V8's old
 * heap and die there, and with thousands of triggers full collections would follow each other. So an entry is written over
 * in place, and of the usual evaluation, one number from one selector whose senders are whole, only the numbers are kept.
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '../model/clock.ts';
import type { Labels } from '../model/labels.ts';
import { LIMITS } from '../model/limits.ts';
import type { Cover } from './coverage.ts';
import type { Evaluation } from './evaluation.ts';
import type { Look } from './looks.ts';

/** One evaluation, under way, whole or as numbers; of the three exactly one is not null. */
class Entry {
  underWay: Promise<Evaluation> | null = null;
  whole: Evaluation | null = null;
  /** What the numbers belong to. */
  look: Look | null = null;
  text = '';
  labels: Labels = [];
  firstAsker = '';
  otherAskers: Set<string> | null = null;
  settling = false;
  series = 0;
  expected = 0;
  seen = 0;
  readSeries = 0;
  readSamples = 0;
  // Begun with fractions: V8 then keeps these as doubles that are written over. NaN is null.
  startedMs = 0.5;
  timeMs = 0.5;
  value = 0.5;
  endMs = 0.5;
  coverNewestMs = 0.5;
  readNewestMs = 0.5;

  begin(evaluation: Promise<Evaluation>, asker: string, startedMs: number): void {
    this.underWay = evaluation;
    this.whole = null;
    this.look = null;
    // An equal text from before is already where it will stay.
    if (this.firstAsker !== asker) this.firstAsker = asker;
    this.otherAskers = null;
    this.startedMs = startedMs;
  }

  /** False if this asker was given it before. */
  takes(asker: string): boolean {
    if (asker === this.firstAsker || this.otherAskers?.has(asker)) return false;
    this.otherAskers ??= new Set();
    this.otherAskers.add(asker);
    return true;
  }

  keep(evaluation: Evaluation): void {
    this.underWay = null;
    const cover = onlyCover(evaluation);
    const { result } = evaluation;
    if (cover === null || result === null || result.value.kind !== 'vector') {
      this.whole = evaluation;
      return;
    }
    const { value, read } = result;
    this.look = cover.look;
    this.text = evaluation.text;
    this.labels = value.labels[0]!;
    this.settling = evaluation.settling;
    this.series = cover.series;
    this.expected = cover.expected;
    this.seen = cover.seen;
    this.readSeries = read.series;
    this.readSamples = read.samples;
    this.timeMs = evaluation.timeMs;
    this.value = value.values[0]!;
    this.endMs = cover.endMs;
    this.coverNewestMs = cover.newestMs ?? Number.NaN;
    this.readNewestMs = read.newestMs ?? Number.NaN;
  }

  async evaluation(): Promise<Evaluation> {
    if (this.underWay !== null) return this.underWay;
    if (this.whole !== null) return this.whole;
    const { look, text, timeMs, endMs, series, expected, seen, settling } = this;
    const cover: Cover = {
      look: look!,
      endMs,
      series,
      expected,
      seen,
      newestMs: nullIfNaN(this.coverNewestMs),
      wholeMs: null,
      warming: null,
      ahead: false,
      mute: null,
      sources: [],
    };
    const read = { series: this.readSeries, samples: this.readSamples, newestMs: nullIfNaN(this.readNewestMs) };
    const value = { kind: 'vector', timeMs, labels: [this.labels], values: Float64Array.of(this.value) } as const;
    const result = { value, warnings: [], infos: [], read };
    return { text, timeMs, covers: [cover], result, before: null, wholeMs: null, fault: null, settling };
  }
}

export class SharedEvaluations {
  readonly #clock: Clock;
  readonly #entries = new LRUCache<string, Entry>({ max: LIMITS.sharedEvaluationsMax });

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** What was evaluated for this key within the interval and not yet given to this asker, or else what `begin` makes. */
  evaluate(key: string, asker: string, begin: () => Promise<Evaluation>): Promise<Evaluation> {
    const nowMs = this.#clock.monotonicMs();
    let entry = this.#entries.get(key);
    if (entry !== undefined && nowMs - entry.startedMs <= LIMITS.evaluationIntervalMs && entry.takes(asker)) {
      return entry.evaluation();
    }
    const evaluation = begin();
    if (entry === undefined) {
      entry = new Entry();
      this.#entries.set(key, entry);
    }
    entry.begin(evaluation, asker, nowMs);
    void this.#finish(key, entry, evaluation);
    return evaluation;
  }

  async #finish(key: string, entry: Entry, evaluation: Promise<Evaluation>): Promise<void> {
    let done: Evaluation | null = null;
    try {
      done = await evaluation;
    } catch {
      // Whoever asked hears of it.
    }
    if (entry.underWay !== evaluation) return;
    if (done !== null && isShareable(done)) entry.keep(done);
    else if (this.#entries.peek(key) === entry) this.#entries.delete(key);
  }
}

/** Absences are looked up anew, since data may come at any moment; and what many elements hold is not kept. */
function isShareable({ result, covers }: Evaluation): boolean {
  if (result === null || (result.value.kind !== 'vector' && result.value.kind !== 'scalar')) return false;
  const elements = result.value.kind === 'scalar' ? 1 : result.value.values.length;
  return (
    elements > 0 &&
    elements <= LIMITS.sharedElementsMax &&
    covers.every(({ warming, ahead, expected, seen }) => warming === null && !ahead && (expected === 0 || seen > 0))
  );
}

/** The cover of an evaluation that numbers say all of, else null. */
function onlyCover({ covers, result, before, wholeMs, fault }: Evaluation): Cover | null {
  const [cover, ...others] = covers;
  if (cover === undefined || others.length > 0 || before !== null || wholeMs !== null || fault !== null) return null;
  if (result?.value.kind !== 'vector' || result.value.values.length !== 1 || result.value.histograms !== undefined) {
    return null;
  }
  const isPlain = result.warnings.length === 0 && result.infos.length === 0;
  const isWhole = cover.wholeMs === null && cover.warming === null && !cover.ahead && cover.mute === null;
  return isPlain && isWhole && cover.sources.length === 0 ? cover : null;
}

function nullIfNaN(value: number): number | null {
  return Number.isNaN(value) ? null : value;
}
