/** Waiting by condition: tests poll for what they want to see and never sleep for a guessed time. */
import { setTimeout as pause } from 'node:timers/promises';

const POLL_MS = 50;

export interface WaitOptions {
  readonly timeoutMs: number;
  /** What is waited for; it ends the sentence "timed out waiting for …". */
  readonly what: string;
}

type Truthy<T> = Exclude<T, undefined | null | false | 0 | ''>;

/** Polls until the condition yields something truthy and returns that. A throw counts as "not yet" and is shown at the end. */
export async function waitFor<T>(condition: () => T | Promise<T>, options: WaitOptions): Promise<Truthy<T>> {
  const deadline = performance.now() + options.timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      last = await condition();
      if (last) return last as Truthy<T>;
    } catch (error) {
      last = error;
    }
    if (performance.now() >= deadline) break;
    await pause(POLL_MS);
  }
  const seen = last instanceof Error ? last.message : String(last);
  throw new Error(`timed out after ${options.timeoutMs} ms waiting for ${options.what}; last seen: ${seen}`, {
    cause: last,
  });
}
