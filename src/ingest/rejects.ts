/**
 * What was refused last, for whoever looks for the sender: one example by protocol and reason. Reasons and codes are closed
 * sets, and an example is short, so this is bounded; only what is refused anyway comes here.
 */
import type { Clock } from '../model/clock.ts';
import { LIMITS } from '../model/limits.ts';
import type { Protocol } from './write.ts';

/** What was refused: samples by reason (reasons.ts), or whole requests by the code of the error (model/errors.ts). */
type RefusedWhat = 'samples' | 'requests';

export interface Reject {
  readonly protocol: Protocol;
  readonly what: RefusedWhat;
  readonly reason: string;
  /** Since the start. */
  readonly count: number;
  /** The series, the line or the metric as received; of a request, the error. Cut; '' if none is known. */
  readonly example: string;
  /** When it was refused; null without an example. */
  readonly timeMs: number | null;
}

interface Example {
  readonly text: string;
  readonly timeMs: number;
}

export class RejectExamples {
  readonly #clock: Clock;
  readonly #examples = new Map<string, Example>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Keeps an example, unless the one that is there is of this very second, or there is nothing to be seen in it. */
  note(protocol: Protocol, what: RefusedWhat, reason: string, text: string): void {
    if (text === '') return;
    const key = keyOf(protocol, what, reason);
    const timeMs = this.#clock.nowMs();
    const known = this.#examples.get(key);
    if (known !== undefined && Math.abs(timeMs - known.timeMs) < LIMITS.rejectExampleMsMin) return;
    this.#examples.set(key, { text: cutExample(text), timeMs });
  }

  of(
    protocol: Protocol,
    what: RefusedWhat,
    reason: string,
  ): { readonly example: string; readonly timeMs: number | null } {
    const known = this.#examples.get(keyOf(protocol, what, reason));
    return known === undefined ? { example: '', timeMs: null } : { example: known.text, timeMs: known.timeMs };
  }
}

/** A copy of its own, since a part of a string keeps the whole one in memory, which a sender may have made long. */
export function cutExample(text: string): string {
  const { rejectExampleLengthMax } = LIMITS;
  const cut = text.length <= rejectExampleLengthMax ? text : `${text.slice(0, rejectExampleLengthMax)}…`;
  return Buffer.from(cut).toString();
}

function keyOf(protocol: Protocol, what: RefusedWhat, reason: string): string {
  return `${protocol} ${what} ${reason}`;
}
