/** Timers that are handed in, like the clock: a test owns them. */
export interface Timers {
  /** Calls `run` once, after about that many milliseconds; 0 is after what is under way. Cancels when called back. */
  after(ms: number, run: () => void): () => void;
}

/** Real ones; none of them keeps the process alive. */
export const systemTimers: Timers = {
  after(ms, run) {
    if (ms <= 0) {
      const soon = setImmediate(run);
      return () => clearImmediate(soon);
    }
    const timer = setTimeout(run, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
};
