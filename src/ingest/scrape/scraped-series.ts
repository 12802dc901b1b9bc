/**
 * What one target has in the store: its text goes in here, scrape by scrape, and what it does not send any more is ended by
 * stale markers, as Prometheus ends it.
 *
 * A scrape is kept whole or not at all: a line that cannot be read, or more samples than are allowed, fail it. All work is
 * done in slices of about a millisecond.
 * Source of the rules: prometheus/prometheus, scrape/scrape.go.
 */
import { CodedError } from '../../model/errors.ts';
import type { Labels } from '../../model/labels.ts';
import type { SeriesRef } from '../../tsdb/head.ts';
import type { SeriesList } from '../../tsdb/kernel-head.ts';
import { type TextFormat, type Transcoded, transcodeSlices, transcodeText } from '../text/transcode.ts';
import type { Writer } from '../write.ts';
import { compareSeries, joinSeries, NO_SERIES } from './series-set.ts';
import { STALE_SERIES_PER_BLOCK, staleBlock } from './stale-blocks.ts';

export interface ScrapedSeriesOptions {
  readonly writer: Pick<Writer, 'scraped'>;
  readonly head: { labelsOf(ref: SeriesRef, generation: number): Labels | null };
  /** Numbers the target. */
  readonly connection: number;
}

/** What a scrape brought. */
export interface ScrapeCounts {
  /** Samples of the text, before any relabelling. */
  readonly scraped: number;
  readonly kept: number;
  /** Series that the scrape before did not have. */
  readonly added: number;
  /** Samples that the store refused, and why. */
  readonly refused: number;
  readonly message: string;
}

/** What is written of each scrape beside its samples. */
export interface ScrapeReport extends Pick<ScrapeCounts, 'scraped' | 'kept' | 'added'> {
  readonly isUp: boolean;
  readonly seconds: number;
}

/** A text of which nothing was kept, and how much was read of it all the same. */
export class TextRefused extends CodedError {
  readonly counts: ScrapeCounts;

  constructor(code: 'bad_body' | 'body_too_large', message: string, read: number) {
    super(code, message);
    this.name = 'TextRefused';
    this.counts = { scraped: read, kept: read, added: 0, refused: 0, message: '' };
  }
}

export class ScrapedSeries {
  readonly #options: ScrapedSeriesOptions;
  /** Of the last scrape. */
  #known: SeriesList = NO_SERIES;
  #reports: SeriesList = NO_SERIES;

  constructor(options: ScrapedSeriesOptions) {
    this.#options = options;
  }

  /** Series that stale markers are owed to. */
  get count(): number {
    return this.#known.refs.length + this.#reports.refs.length;
  }

  /**
   * Stores the text of a scrape, and ends what is not in it any more. Throws `TextRefused`, and has then stored nothing; `overloaded`, and then a part may be stored.
   */
  *store(text: Uint8Array, format: TextFormat, samplesMax: number): Generator<void, ScrapeCounts, void> {
    const transcoded = yield* transcodeSlices(text, format);
    checkText(transcoded, samplesMax);
    const { timestampMs } = format;
    const parts: SeriesList[] = [];
    const counts = { refused: 0, message: '' };
    try {
      for (const body of transcoded.bodies) {
        const { series, samplesRefused, message } = this.#write(body, timestampMs);
        parts.push(series);
        counts.refused += samplesRefused;
        counts.message ||= message;
        yield;
      }
    } catch (error) {
      // What is in the store by now has to be ended some time, too.
      this.#known = joinSeries([this.#known, ...parts]);
      throw error;
    }
    const now = joinSeries(parts);
    const { gone, added } = compareSeries(this.#known, now);
    // If there is no room for the markers, they are still owed.
    this.#known = gone.refs.length === 0 ? now : joinSeries([now, gone]);
    yield* this.#end(gone, timestampMs);
    this.#known = now;
    const { samples, dropped } = transcoded;
    return { scraped: samples + dropped, kept: samples, added, ...counts };
  }

  /** Ends all series of a target that could not be scraped; those that say so remain. */
  *endScraped(timestampMs: number): Generator<void, void, void> {
    yield* this.#end(this.#known, timestampMs);
    this.#known = NO_SERIES;
  }

  /** Ends all series of a target that is watched no more. */
  *endAll(timestampMs: number): Generator<void, void, void> {
    yield* this.endScraped(timestampMs);
    yield* this.#end(this.#reports, timestampMs);
    this.#reports = NO_SERIES;
  }

  /** Writes what Prometheus writes of each scrape. */
  report(
    { isUp, seconds, scraped, kept, added }: ScrapeReport,
    timestampMs: number,
    labels: TextFormat['labels'],
  ): void {
    const lines =
      `up ${isUp ? 1 : 0}\nscrape_duration_seconds ${seconds}\nscrape_samples_scraped ${scraped}\n` +
      `scrape_samples_post_metric_relabeling ${kept}\nscrape_series_added ${added}\n`;
    const format = {
      isOpenMetrics: false,
      timestampMs,
      honorTimestamps: false,
      labels,
      onConflict: 'replaced',
    } as const;
    const { bodies } = transcodeText(Buffer.from(lines), format);
    this.#reports = joinSeries(bodies.map((body) => this.#write(body, timestampMs).series));
  }

  /** Takes over what stale markers are owed to from a target of the same labels that goes. */
  inherit(from: ScrapedSeries): void {
    this.#known = joinSeries([this.#known, from.#known]);
    this.#reports = joinSeries([this.#reports, from.#reports]);
    from.#known = NO_SERIES;
    from.#reports = NO_SERIES;
  }

  *#end({ refs, generations }: SeriesList, timestampMs: number): Generator<void, void, void> {
    const { head } = this.#options;
    for (let from = 0; from < refs.length; from += STALE_SERIES_PER_BLOCK) {
      const ended: Labels[] = [];
      for (let i = from; i < Math.min(from + STALE_SERIES_PER_BLOCK, refs.length); i++) {
        const labels = head.labelsOf(refs[i]! as SeriesRef, generations[i]!);
        if (labels !== null) ended.push(labels);
      }
      const block = staleBlock(ended, timestampMs);
      if (block !== null) this.#write(block, timestampMs);
      yield;
    }
  }

  #write(block: Uint8Array, timestampMs: number): ReturnType<Writer['scraped']> {
    const outcome = this.#options.writer.scraped(block, timestampMs, this.#options.connection);
    // Nobody is told that a scrape is in the log: that it could not be written is counted there.
    outcome.logged?.catch(() => undefined);
    return outcome;
  }
}

function checkText(transcoded: Transcoded, samplesMax: number): void {
  const { isComplete, refusedLines, firstRefused, samples, dropped, samplesBefore } = transcoded;
  if (refusedLines > 0) {
    const message = `cannot read ${refusedLines} lines of the exposition, the first: ${firstRefused}`;
    throw new TextRefused('bad_body', message, samplesBefore);
  }
  const read = samples + dropped;
  if (!isComplete) {
    throw new TextRefused('bad_body', 'cannot take OpenMetrics: it does not end with # EOF', read);
  }
  if (samples > samplesMax) {
    const message = `cannot take the scrape: got ${samples} samples, want at most ${samplesMax}`;
    throw new TextRefused('body_too_large', message, read);
  }
}
