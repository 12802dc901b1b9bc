/**
 * The rhythm of a series: when its samples came, in six numbers. It is what says whether a sender is still heard, and
 * whether it was all the time that a query looks at. Values play no part, but for a stale marker at the end.
 *
 * The store reads the rhythms of many series at once (`Selection.rhythms`); the same of a list of times is here, for
 * histogram samples and as the plain text of what the store does.
 */

export interface RhythmRequest {
  /** Samples with fromMs < t <= endMs are looked at. */
  readonly fromMs: number;
  /** Holes are counted from here on. */
  readonly startMs: number;
  readonly endMs: number;
  /** A gap longer than this ends a life: the samples before it do not count. */
  readonly lifeMs: number;
  /** A gap has a hole if it is longer than so many intervals, */
  readonly gapIntervals: number;
  /** and this on top; the hole is what it is longer by. */
  readonly gapSlackMs: number;
  /** What the interval of a single sample is taken for. */
  readonly intervalMsUnknown: number;
}

/** Numbers of one series, one behind the other; RHYTHM_* says which. */
export const RHYTHM_SIZE = 6;
/** RHYTHM_* bits; 0 if there are no samples, and then the other numbers mean nothing. */
export const RHYTHM_STATE = 0;
/** Newest sample, and the first of its life. */
export const RHYTHM_NEWEST_MS = 1;
export const RHYTHM_FIRST_MS = 2;
/** Median of the newest five gaps, of four or two the lower one; 0 for a single sample. */
export const RHYTHM_INTERVAL_MS = 3;
/** Holes since startMs or the first sample, all together; the time since the newest sample may be one. */
export const RHYTHM_HOLES_MS = 4;
/** The sample before the longest gap that has a hole (the first of equally long ones), or the newest one. */
export const RHYTHM_GAP_START_MS = 5;

export const RHYTHM_SEEN = 1;
/** There was a life before this one. */
export const RHYTHM_IS_BACK = 2;
/** The newest sample is a stale marker. */
export const RHYTHM_ENDED = 4;

/** Gaps that an interval is learned from. */
const GAPS_MAX = 5;
const gaps = new Float64Array(GAPS_MAX);

/** Writes the rhythm of `count` times, ascending, all of them within the request, to `into` at `at`. */
export function rhythmOf(
  timesMs: Float64Array,
  count: number,
  hasEnded: boolean,
  request: RhythmRequest,
  into: Float64Array,
  at: number,
): void {
  into[at + RHYTHM_STATE] = 0;
  if (count === 0) return;
  let life = 0;
  for (let i = 1; i < count; i++) if (timesMs[i]! - timesMs[i - 1]! > request.lifeMs) life = i;
  into[at + RHYTHM_STATE] = RHYTHM_SEEN | (life > 0 ? RHYTHM_IS_BACK : 0) | (hasEnded ? RHYTHM_ENDED : 0);
  into[at + RHYTHM_NEWEST_MS] = timesMs[count - 1]!;
  into[at + RHYTHM_FIRST_MS] = timesMs[life]!;
  into[at + RHYTHM_INTERVAL_MS] = medianGap(timesMs, life, count);
  addHoles(timesMs, life, count, request, into, at);
}

function addHoles(
  timesMs: Float64Array,
  life: number,
  count: number,
  { startMs, endMs, gapIntervals, gapSlackMs, intervalMsUnknown }: RhythmRequest,
  into: Float64Array,
  at: number,
): void {
  const gapMsMax = gapIntervals * (into[at + RHYTHM_INTERVAL_MS]! || intervalMsUnknown) + gapSlackMs;
  let holesMs = 0;
  let widestMs = 0;
  into[at + RHYTHM_GAP_START_MS] = timesMs[count - 1]!;
  for (let i = life + 1; i <= count; i++) {
    const untilMs = i === count ? endMs : timesMs[i]!;
    const gapMs = untilMs - timesMs[i - 1]!;
    if (untilMs <= startMs || gapMs <= gapMsMax) continue;
    holesMs += Math.min(gapMs - gapMsMax, untilMs - startMs);
    if (gapMs <= widestMs) continue;
    widestMs = gapMs;
    into[at + RHYTHM_GAP_START_MS] = timesMs[i - 1]!;
  }
  into[at + RHYTHM_HOLES_MS] = holesMs;
}

function medianGap(timesMs: Float64Array, first: number, count: number): number {
  const n = Math.min(GAPS_MAX, count - 1 - first);
  if (n <= 0) return 0;
  for (let i = 0; i < n; i++) {
    const gap = timesMs[count - 1 - i]! - timesMs[count - 2 - i]!;
    let at = i;
    for (; at > 0 && gaps[at - 1]! > gap; at--) gaps[at] = gaps[at - 1]!;
    gaps[at] = gap;
  }
  // Of an even number the lower one: a hole must not pass for an interval.
  return gaps[(n - 1) >> 1]!;
}
