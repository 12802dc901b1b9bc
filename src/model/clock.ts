/** The clock that is handed in: nothing below `api/` reads the time of day by itself, so that a test owns it. */
export interface Clock {
  /** Wall time in milliseconds since the Unix epoch; may jump. */
  nowMs(): number;
  /** Monotonic time in milliseconds from an arbitrary origin, with fractions; for ages, deadlines and durations. */
  monotonicMs(): number;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
};
