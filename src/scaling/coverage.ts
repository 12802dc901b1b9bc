/**
 * Coverage: were the senders of what a selector reads heard all the time that it reads?
 *
 * A source (sources.ts) is, at the end of the selector's window,
 *
 *     fresh       some series of it has a sample that is young enough for its interval
 *     late        fresh, but a sample that was due did not come
 *     recovering  fresh, but part of the window is a hole
 *     silent      not fresh: it counts as missing until it leaves
 *     left        ended by stale markers, its pod deleted, or silent for longer than `forgetAfterMs`
 *
 * A series' window begins at its first sample, so a new source counts as whole. That is not so for all of them at once:
 * if every source began within the window, and they may have been there before (the daemon started not long ago, or the
 * same sources were known earlier), the selector is warming up until four fifths of its window are covered.
 *
 * The interval of a series is the median of its newest gaps (tsdb/rhythm.ts). Everything is read under the asker's scope.
 */
import { CodedError } from '../model/errors.ts';
import { isStaleHistogram } from '../model/histogram.ts';
import { type Labels, labelValue } from '../model/labels.ts';
import { LIMITS } from '../model/limits.ts';
import type { Matcher } from '../model/matcher.ts';
import { SampleBuffer } from '../model/sample.ts';
import { NAMESPACE_LABELS, type Scope } from '../model/scope.ts';
import type { HeadReader, Selection } from '../tsdb/head.ts';
import {
  RHYTHM_ENDED,
  RHYTHM_FIRST_MS,
  RHYTHM_GAP_START_MS,
  RHYTHM_HOLES_MS,
  RHYTHM_INTERVAL_MS,
  RHYTHM_IS_BACK,
  RHYTHM_NEWEST_MS,
  RHYTHM_SIZE,
  RHYTHM_STATE,
  type RhythmRequest,
  rhythmOf,
} from '../tsdb/rhythm.ts';
import type { Look } from './looks.ts';
import { NO_POD_STATES, type PodState, type PodStates } from './pods.ts';
import { POD_LABELS, podName, sourceKey } from './sources.ts';

export type SourceState = 'fresh' | 'late' | 'recovering' | 'silent' | 'left';

export interface SourceCover {
  readonly key: string;
  readonly state: SourceState;
  readonly series: number;
  readonly newestMs: number;
  /** 0 if it cannot be told yet. */
  readonly intervalMs: number;
  readonly staleAfterMs: number;
}

export interface Cover {
  readonly look: Look;
  /** End of the window. */
  readonly endMs: number;
  readonly series: number;
  /** Sources that have not left, and those of them that are fresh. */
  readonly expected: number;
  readonly seen: number;
  /** Newest sample of a source that has not left, or null. */
  readonly newestMs: number | null;
  /** The last moment at which every source was heard, in the question's time; null while all are whole. */
  readonly wholeMs: number | null;
  /** Part of the window that is covered, if it is too little to answer; else null. */
  readonly warming: number | null;
  /** Samples lie ahead of a clock that jumped back. */
  readonly ahead: boolean;
  /** A source whose pod is known to be alive and that is silent, or null. */
  readonly mute: SourceCover | null;
  /** Every source; empty unless asked for. */
  readonly sources: readonly SourceCover[];
}

export interface CoverContext {
  readonly head: Pick<HeadReader, 'select'>;
  readonly scope: Scope;
  /** Added to the selector's own. */
  readonly matchers: readonly Matcher[];
  readonly timeMs: number;
  /** When the daemon began to listen, in wall time; -Infinity to take the first answer after a start for whole. */
  readonly startedMs: number;
  readonly forgetAfterMs: number;
  /** Null for what is learned of each series. */
  readonly freshnessMs: number | null;
  /** The wall clock jumped back not long ago. */
  readonly isSuspect: boolean;
  readonly podStates: PodStates;
  readonly listsSources: boolean;
}

/** A cover that is being made. Not made of a part by spreading: that leaves 700 bytes on V8's old heap, each time. */
interface Judged extends Cover {
  warming: number | null;
  ahead: boolean;
}

/** Stale after two intervals and a bit, within these bounds. */
const STALE_INTERVALS = 2;
const STALE_SLACK_MS = 5000;
const STALE_MS_MIN = 30_000;
const STALE_MS_MAX = 300_000;
/** An interval that cannot be told yet is taken for a minute: what senders commonly use at most. */
const INTERVAL_MS_UNKNOWN = 60_000;
/** A sample is late after one and a half intervals; the rest of a longer gap is a hole. */
const LATE_INTERVALS = 1.5;
const LATE_SLACK_MS = 1000;
const COVERAGE_MIN = 0.8;
/** How far ahead a sample may lie after a jump of the clock. */
const AHEAD_MS_MAX = 30_000;
const SERIES_BETWEEN_YIELDS = 256;

/** What is gathered of one source, series by series. */
interface Source {
  /** The first of its series in the selection: its labels say who it is. */
  first: number;
  series: number;
  /** All of them name the same pod, or none. */
  isOnePod: boolean;
  running: number;
  fresh: boolean;
  newestMs: number;
  intervalMs: number;
  staleAfterMs: number;
  /** First sample of its life: since the last silence that was long enough to be forgotten. */
  firstMs: number;
  /** Last sample of its life, a stale marker included. */
  lastMs: number;
  /** It had a life before this one. */
  isBack: boolean;
  /** Covered part of the window, and the beginning of its largest gap, as its longest-lived series tell. */
  covered: number;
  gapStartMs: number;
}

/** One selector at one time. */
interface Span {
  readonly look: Look;
  readonly matchers: readonly Matcher[];
  /** Samples of (fromMs, endMs] are read; the window begins at startMs. */
  readonly fromMs: number;
  readonly startMs: number;
  readonly endMs: number;
  readonly rhythm: RhythmRequest;
}

/** Judges one selector, in slices: yields between some hundred series. */
export function* cover(look: Look, context: CoverContext): Generator<void, Cover, void> {
  const endMs = (look.atMs ?? context.timeMs) - look.offsetMs;
  const startMs = endMs - look.windowMs;
  const fromMs = startMs - rememberedMs(context);
  const matchers = context.matchers.length === 0 ? look.matchers : [...look.matchers, ...context.matchers];
  const span = { look, matchers, fromMs, startMs, endMs, rhythm: rhythmRequest(fromMs, startMs, endMs, context) };
  const selection = context.head.select({ matchers, fromMs, toMs: endMs, scope: context.scope });
  try {
    const sources = yield* gather(selection, span, context);
    const judged = summary(sources, selection, span, context);
    // While a source is not whole, the value of when all were stands in: then the window of that moment counts.
    const untilMs = judged.wholeMs === null ? endMs : judged.wholeMs - context.timeMs + endMs;
    judged.warming = warmingPart(sources, selection, span, untilMs, context);
    judged.ahead = context.isSuspect && liesAhead(matchers, context);
    giveBack(sources);
    return judged;
  } finally {
    selection.close();
  }
}

/** Silent senders are forgotten, unless somebody says that their pods run: then they are remembered longer. */
function rememberedMs({ forgetAfterMs, podStates }: CoverContext): number {
  return podStates === NO_POD_STATES ? forgetAfterMs : Math.max(forgetAfterMs, LIMITS.mutePodMsMax);
}

function rhythmRequest(fromMs: number, startMs: number, endMs: number, { forgetAfterMs }: CoverContext): RhythmRequest {
  return {
    fromMs,
    startMs,
    endMs,
    lifeMs: forgetAfterMs,
    gapIntervals: LATE_INTERVALS,
    gapSlackMs: LATE_SLACK_MS,
    intervalMsUnknown: INTERVAL_MS_UNKNOWN,
  };
}

/** Rhythms of a slice of series: borrowed between two yields, never over one. */
const rhythms = new Float64Array(SERIES_BETWEEN_YIELDS * RHYTHM_SIZE);

function* gather(selection: Selection, span: Span, context: CoverContext): Generator<void, readonly Source[], void> {
  const sources: Source[] = [];
  const grouping = new Grouping(selection);
  const pods = context.podStates === NO_POD_STATES ? null : podCodes(selection);
  for (let first = 0; first < selection.count; first += SERIES_BETWEEN_YIELDS) {
    if (first > 0) yield;
    const end = Math.min(selection.count, first + SERIES_BETWEEN_YIELDS);
    selection.rhythms(first, end, span.rhythm, rhythms);
    for (let i = first; i < end; i++) {
      const at = (i - first) * RHYTHM_SIZE;
      if (selection.anyHistograms && selection.hasHistograms(i)) readWithHistograms(selection, i, span, at);
      if (rhythms[at + RHYTHM_STATE] === 0) continue;
      const group = grouping.groupOf(i);
      let source = sources[group];
      if (source === undefined) {
        source = takeSource(i);
        sources.push(source);
      }
      if (pods !== null) source.isOnePod &&= pods[i] === pods[source.first];
      merge(source, at, span, context.freshnessMs);
    }
  }
  return sources;
}

/** Which series of a selection are of one source: groups are numbered from 0 in the order in which they come up. */
class Grouping {
  readonly #selection: Selection;
  readonly #jobs: Uint32Array;
  readonly #instances: Uint32Array;
  readonly #groups = new Map<number | string, number>();

  constructor(selection: Selection) {
    this.#selection = selection;
    this.#jobs = selection.labelCodes('job');
    this.#instances = selection.labelCodes('instance');
  }

  groupOf(i: number): number {
    const instance = this.#instances[i]!;
    const job = this.#jobs[i]!;
    // Numbers of one label each, so that most series need no label text at all.
    const isSameJob = instance !== 0 && job === this.#jobs[0];
    const key = isSameJob ? instance : sourceKey(this.#selection.labels(i));
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = this.#groups.size;
      this.#groups.set(key, group);
    }
    return group;
  }
}

/** Numbers of the pods that the series name; 0 for none. */
function podCodes(selection: Selection): Uint32Array {
  const [first = new Uint32Array(selection.count), ...others] = POD_LABELS.map((name) => selection.labelCodes(name));
  for (const codes of others) for (let i = 0; i < first.length; i++) first[i] ||= codes[i]!;
  return first;
}

/** Given back sources: a Reading makes one for each sender, every few seconds. Made anew each time, it took 15 % longer. */
const pool: Source[] = [];
const POOLED_MAX = 4096;

function takeSource(first: number): Source {
  const source = pool.pop() ?? {
    first: 0,
    series: 0,
    isOnePod: true,
    running: 0,
    fresh: false,
    newestMs: 0.5,
    intervalMs: 0.5,
    staleAfterMs: 0.5,
    firstMs: 0.5,
    lastMs: 0.5,
    isBack: false,
    covered: 0.5,
    gapStartMs: 0.5,
  };
  source.first = first;
  source.series = 0;
  source.isOnePod = true;
  source.running = 0;
  source.fresh = false;
  source.newestMs = -Infinity;
  source.intervalMs = 0;
  source.staleAfterMs = 0;
  source.firstMs = Infinity;
  source.lastMs = -Infinity;
  source.isBack = false;
  source.covered = 1;
  source.gapStartMs = Infinity;
  return source;
}

function giveBack(sources: readonly Source[]): void {
  for (const source of sources) if (pool.length < POOLED_MAX) pool.push(source);
}

const buffer = new SampleBuffer(256);

/** The rhythm of a series that has histogram samples, with those. */
function readWithHistograms(selection: Selection, i: number, { fromMs, endMs, rhythm }: Span, at: number): void {
  const count = selection.read(i, fromMs, endMs, buffer);
  const { timesMs, blobs } = selection.readHistograms(i, fromMs, endMs);
  const newest = timesMs.length - 1;
  const endsInHistogram = newest >= 0 && (count === 0 || timesMs[newest]! > buffer.timesMs[count - 1]!);
  const hasEnded = endsInHistogram ? isStaleHistogram(blobs[newest]!) : count > 0 && buffer.isStale(count - 1);
  const allMs = Float64Array.from([...buffer.timesMs.subarray(0, count), ...timesMs]).sort();
  rhythmOf(allMs, allMs.length, hasEnded, rhythm, rhythms, at);
}

/** Adds the rhythm of one series. */
function merge(source: Source, at: number, { startMs, endMs }: Span, freshnessMs: number | null): void {
  const state = rhythms[at + RHYTHM_STATE]!;
  const newestMs = rhythms[at + RHYTHM_NEWEST_MS]!;
  const firstMs = rhythms[at + RHYTHM_FIRST_MS]!;
  const intervalMs = rhythms[at + RHYTHM_INTERVAL_MS]!;
  const gapStartMs = rhythms[at + RHYTHM_GAP_START_MS]!;
  const beginMs = Math.max(startMs, firstMs);
  const covered = endMs > beginMs ? 1 - rhythms[at + RHYTHM_HOLES_MS]! / (endMs - beginMs) : 1;
  const slackMs = intervalMs === 0 ? INTERVAL_MS_UNKNOWN : intervalMs;
  source.series++;
  if (firstMs < source.firstMs - slackMs) {
    source.covered = covered;
    source.gapStartMs = gapStartMs;
  } else if (firstMs <= source.firstMs + slackMs && covered >= source.covered) {
    source.covered = covered;
    source.gapStartMs = Math.min(source.gapStartMs, gapStartMs);
  }
  source.firstMs = Math.min(source.firstMs, firstMs);
  source.lastMs = Math.max(source.lastMs, newestMs);
  source.isBack ||= (state & RHYTHM_IS_BACK) !== 0;
  if ((state & RHYTHM_ENDED) !== 0) return;
  source.running++;
  const staleAfterMs = freshnessMs ?? learnedFreshnessMs(intervalMs);
  source.fresh ||= endMs - newestMs <= staleAfterMs;
  if (newestMs < source.newestMs) return;
  source.newestMs = newestMs;
  source.intervalMs = intervalMs;
  source.staleAfterMs = staleAfterMs;
}

function learnedFreshnessMs(intervalMs: number): number {
  const ms = STALE_INTERVALS * (intervalMs === 0 ? INTERVAL_MS_UNKNOWN : intervalMs) + STALE_SLACK_MS;
  return Math.min(STALE_MS_MAX, Math.max(STALE_MS_MIN, ms));
}

/** The covered part of the window if the selector is warming up, else null. */
function warmingPart(
  sources: readonly Source[],
  selection: Selection,
  span: Span,
  untilMs: number,
  { head, scope, startedMs, forgetAfterMs }: CoverContext,
): number | null {
  let firstMs = Infinity;
  let intervalMs = 0;
  for (const source of sources) {
    if (!source.fresh) continue;
    firstMs = Math.min(firstMs, source.firstMs);
    intervalMs = Math.max(intervalMs, source.intervalMs);
  }
  const wantedMs = Math.max(span.look.windowMs, intervalMs === 0 ? INTERVAL_MS_UNKNOWN : intervalMs);
  const neededMs = COVERAGE_MIN * wantedMs;
  // Nearly always: somebody who is still there was there all the time.
  if (firstMs === Infinity || untilMs - firstMs >= neededMs) return null;
  const handoverMs = Math.max(STALE_MS_MIN, STALE_INTERVALS * intervalMs);
  const sinceMs = unbrokenSince(sources, firstMs, handoverMs);
  const coveredMs = untilMs - sinceMs;
  // Whoever was there when the reading begins was there before as well, as far as can be told.
  if (coveredMs >= neededMs || sinceMs <= span.fromMs + handoverMs) return null;
  const fresh = sources.filter((source) => source.fresh);
  const mayBeOld =
    firstMs - startedMs < forgetAfterMs ||
    fresh.some((source) => source.isBack) ||
    wereThere(fresh, selection, span, head, scope);
  return mayBeOld ? Math.max(0, coveredMs / wantedMs) : null;
}

/** Since when, back from a time, some source was always heard: who comes may take over from who went. */
function unbrokenSince(sources: readonly Source[], fromMs: number, handoverMs: number): number {
  let sinceMs = fromMs;
  for (const { firstMs, lastMs } of sources.toSorted((a, b) => b.lastMs - a.lastMs)) {
    if (lastMs >= sinceMs - handoverMs) sinceMs = Math.min(sinceMs, firstMs);
  }
  return sinceMs;
}

/** True if one of the sources has samples from before what was read. */
function wereThere(
  sources: readonly Source[],
  selection: Selection,
  { matchers, fromMs }: Span,
  head: CoverContext['head'],
  scope: Scope,
): boolean {
  const keys = new Set(sources.map(({ first }) => sourceKey(selection.labels(first))));
  const earlier = head.select({ matchers, fromMs: 0, toMs: fromMs, scope });
  try {
    for (let i = 0; i < earlier.count; i++) if (keys.has(sourceKey(earlier.labels(i)))) return true;
    return false;
  } finally {
    earlier.close();
  }
}

function liesAhead(matchers: readonly Matcher[], { head, scope, timeMs }: CoverContext): boolean {
  const fromMs = timeMs + AHEAD_MS_MAX;
  const ahead = head.select({ matchers, fromMs, toMs: Number.MAX_SAFE_INTEGER, scope });
  const found = ahead.count > 0;
  ahead.close();
  return found;
}

function summary(
  sources: readonly Source[],
  selection: Selection,
  { look, endMs }: Span,
  context: CoverContext,
): Judged {
  let expected = 0;
  let seen = 0;
  let newestMs = -Infinity;
  let wholeMs = Infinity;
  let mute: SourceCover | null = null;
  const listed: SourceCover[] = [];
  for (const source of sources) {
    // A sender of series of several pods is none of them, but something that tells of pods.
    const isPod = !source.fresh && source.isOnePod;
    const pod = isPod ? podStateOf(selection.labels(source.first), context) : 'unknown';
    const state = stateOf(source, look, endMs, pod, context);
    if (context.listsSources) listed.push(describe(source, selection, state));
    if (state === 'left') continue;
    expected++;
    if (source.newestMs > newestMs) newestMs = source.newestMs;
    if (state === 'fresh') {
      seen++;
      continue;
    }
    if (state !== 'silent') seen++;
    else if (pod === 'alive') mute ??= describe(source, selection, state);
    wholeMs = Math.min(wholeMs, source.newestMs, source.gapStartMs);
  }
  return {
    look,
    endMs,
    series: selection.count,
    expected,
    seen,
    newestMs: newestMs === -Infinity ? null : newestMs,
    wholeMs: wholeMs === Infinity ? null : wholeMs + context.timeMs - endMs,
    warming: null,
    ahead: false,
    mute,
    sources: listed,
  };
}

function podStateOf(labels: Labels, { podStates }: CoverContext): PodState {
  const pod = podName(labels);
  if (pod === '') return 'unknown';
  const namespace = NAMESPACE_LABELS.map((name) => labelValue(labels, name)).find((value) => value !== '') ?? '';
  return podStates.stateOf(namespace, pod);
}

function stateOf(
  source: Source,
  look: Look,
  endMs: number,
  pod: PodState,
  { forgetAfterMs }: CoverContext,
): SourceState {
  if (source.running === 0 || (!source.fresh && pod === 'deleted')) return 'left';
  const ageMs = endMs - source.newestMs;
  if (!source.fresh) {
    return ageMs <= Math.max(forgetAfterMs, source.staleAfterMs) || pod === 'alive' ? 'silent' : 'left';
  }
  // What an instant selector reads stays the same until the lookback ends: nothing is lost while a sample is late.
  if (look.windowMs === 0) return 'fresh';
  const intervalMs = source.intervalMs === 0 ? INTERVAL_MS_UNKNOWN : source.intervalMs;
  if (ageMs > LATE_INTERVALS * intervalMs + LATE_SLACK_MS) return 'late';
  return source.covered < COVERAGE_MIN ? 'recovering' : 'fresh';
}

function describe(source: Source, selection: Selection, state: SourceState): SourceCover {
  const { series, newestMs, intervalMs, staleAfterMs } = source;
  return { key: sourceKey(selection.labels(source.first)), state, series, newestMs, intervalMs, staleAfterMs };
}

/** Runs the slices to their end, letting the event loop turn between two of them; throws once it is too late. */
export async function coverAll(
  looks: readonly Look[],
  context: CoverContext,
  isLate: () => boolean,
): Promise<readonly Cover[]> {
  const covers: Cover[] = [];
  for (const look of looks) {
    const slices = cover(look, context);
    for (;;) {
      const step = slices.next();
      if (step.done) {
        covers.push(step.value);
        break;
      }
      await new Promise((resolve) => setImmediate(resolve));
      if (isLate())
        throw new CodedError(
          'query_timeout',
          `the senders of the query could not be looked at within ${LIMITS.scalerTimeoutMs} ms`,
        );
    }
  }
  return covers;
}
