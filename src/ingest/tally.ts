/** The account of one request: what was stored, what was refused and why, and the words in which the sender is told. */
import { type Labels, labelsText } from '../model/labels.ts';
import { REASONS, type Reason } from './reasons.ts';
import { cutExample } from './rejects.ts';

/** The example of what has no name, as a message quotes it. */
export const NO_EXAMPLE = '""';

interface Refused {
  count: number;
  readonly example: string;
}

export class Tally {
  /** Samples that are in the store now, histograms among them. */
  samplesStored = 0;
  histogramsStored = 0;
  exemplarsStored = 0;
  /** Samples refused; for OTLP data points, each of which may stand for several samples. */
  refusedCount = 0;
  exemplarsIgnored = 0;
  metadataIgnored = 0;
  readonly #byReason = new Map<Reason, Refused>();

  /** Notes an exemplar that the sender is told of: the samples beside it are in the store all the same. */
  refuseExemplar(reason: Reason, where: Labels): void {
    this.exemplarsIgnored++;
    this.refuse(reason, 1, where);
  }

  /** Counts refused samples. `where` names the series or metric; the first of each reason is quoted. */
  refuse(reason: Reason, count: number, where: Labels | string): void {
    if (count === 0) return;
    this.refusedCount += count;
    const known = this.#byReason.get(reason);
    if (known === undefined) this.#byReason.set(reason, { count, example: exampleText(where) });
    else known.count += count;
  }

  /** Reasons, how often each was met and the first that was met, the most frequent first. */
  refusals(): readonly (readonly [reason: Reason, count: number, example: string])[] {
    return this.#sorted().map(([reason, { count, example }]) => [reason, count, example] as const);
  }

  /** `out of order sample: 3 refused, the first for up{job="a"}; too many labels: 1 refused, …`, or ''. */
  message(): string {
    return this.#sorted()
      .map(([reason, { count, example }]) => `${REASONS[reason]}: ${count} refused, the first for ${example}`)
      .join('; ');
  }

  #sorted(): [Reason, Refused][] {
    return [...this.#byReason].sort((a, b) => b[1].count - a[1].count);
  }
}

function exampleText(where: Labels | string): string {
  return cutExample(typeof where === 'string' ? JSON.stringify(where) : labelsText(where));
}
