/**
 * What another version left in the folder and this one cannot read: images of another format or layout, segments of the log of
 * another format or with records of another kind. Nothing is wrong with these files: whoever goes back to that version finds
 * them where it left them. They are kept until they are of no use to it, because retention has passed since this start; the
 * newest two images of them; and not while the disk is full.
 */
import type { Clock } from '../model/clock.ts';

/** By number, as found at start. */
export interface ForeignFiles {
  readonly images: ReadonlySet<number>;
  readonly segments: ReadonlySet<number>;
}

export class Foreign {
  readonly #images: ReadonlySet<number>;
  readonly #segments: ReadonlySet<number>;
  readonly #clock: Clock;
  readonly #untilMs: number;
  #isKept: boolean;

  constructor({ images, segments }: ForeignFiles, clock: Clock, keepMs: number) {
    this.#images = images;
    this.#segments = segments;
    this.#clock = clock;
    this.#untilMs = clock.monotonicMs() + keepMs;
    this.#isKept = images.size + segments.size > 0;
  }

  /** True as long as there is something that is kept. */
  get isKept(): boolean {
    return this.#isKept;
  }

  isImage(segment: number): boolean {
    return this.#images.has(segment);
  }

  keepsSegment(segment: number): boolean {
    return this.#isKept && this.#segments.has(segment);
  }

  /** To be called now and then: true at the moment from which on nothing of it is kept any longer. */
  ends(): boolean {
    if (!this.#isKept || this.#clock.monotonicMs() < this.#untilMs) return false;
    this.letGo();
    return true;
  }

  letGo(): void {
    this.#isKept = false;
  }
}
