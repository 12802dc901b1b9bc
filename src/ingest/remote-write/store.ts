/**
 * Remote-write into the head. The store's kernel decompresses the body, walks it and appends; what comes back is the
 * account, and the few TimeSeries that the kernel leaves to us: labels in no canonical form, native histograms, exemplars.
 */
import { CodedError } from '../../model/errors.ts';
import type { Labels } from '../../model/labels.ts';
import type { HeadWriter } from '../../tsdb/head.ts';
import type { KernelHead, Refusal, RemoteWriteCounts } from '../../tsdb/kernel-head.ts';
import type { Metadata } from '../../tsdb/metadata.ts';
import { type Reason, reasonOfOutcome } from '../reasons.ts';
import type { Tally } from '../tally.ts';
import { readSeriesLabels, storeMetadata, storeTimeSeries } from './decode.ts';
import { addMetadata, readSeriesLabels as readSeriesLabels2, storeSeries } from './decode2.ts';
import type { Sink } from './items.ts';

export type RemoteWriteHead = HeadWriter &
  Pick<KernelHead, 'writeRemoteWrite' | 'writeRequest' | 'lastBody' | 'lastMetadata' | 'seriesOfBody'>;

/** Where a body goes: `head` is the one of `sink`. */
export interface RemoteWriteTarget {
  readonly head: RemoteWriteHead;
  /** The namespace that the sender's identity puts on its series; '' for none. */
  readonly stamp: string;
  readonly metadata: Metadata;
  readonly sink: Sink;
}

/**
 * Stores a 1.0 body as sent. `connection` numbers the sender's connection. Throws `bad_body` or `body_too_large`, and has then
 * stored nothing; `overloaded` if memory has no room for samples of known series, which a sender repeats.
 */
export function storeRemoteWrite(body: Uint8Array, connection: number, target: RemoteWriteTarget): void {
  const { head, stamp, metadata, sink } = target;
  const counts = head.writeRemoteWrite(body, connection, stamp);
  count(counts, readSeriesLabels, sink.tally);
  if (counts.metadata > 0) storeMetadata(head.lastBody(), metadata, sink.tally);
  for (const message of counts.odd) storeTimeSeries(message, sink, stamp);
  expectRoom(counts.noMemory);
}

/** As {@link storeRemoteWrite}, of a 2.0 body. */
export function storeRequest(body: Uint8Array, connection: number, target: RemoteWriteTarget): void {
  const { head, stamp, metadata, sink } = target;
  const counts = head.writeRequest(body, connection, stamp);
  const { symbols } = counts;
  count(counts, (timeSeries) => readSeriesLabels2(timeSeries, symbols), sink.tally);
  for (const { symbol, message } of head.lastMetadata((low, high) => metadata.isSeen(low, high))) {
    if (!addMetadata(symbols.text(symbol), message, symbols, metadata)) sink.tally.metadataIgnored++;
  }
  for (const { ref, timeSeries } of counts.odd) storeSeries({ ref, timeSeries, symbols, stamp }, sink);
  expectRoom(counts.noMemory);
}

function expectRoom(refused: number): void {
  if (refused === 0) return;
  throw new CodedError('overloaded', `cannot store ${refused} samples: memory is full, send them again later`);
}

type Counts = Omit<RemoteWriteCounts, 'odd' | 'symbols'>;

/** Takes over what the kernel counted. */
function count(counts: Counts, labelsOf: (timeSeries: Uint8Array) => Labels, tally: Tally): void {
  tally.samplesStored += counts.stored + counts.duplicate;
  const refuse = (reason: Reason, refused: number): void => {
    if (refused === 0) return;
    // Only the first few refusals are known by series; of a rare reason there may be none.
    const example = counts.refusals.find(({ outcome }: Refusal) => reasonOfOutcome(outcome) === reason);
    tally.refuse(reason, refused, example === undefined ? '' : labelsOf(example.timeSeries));
  };
  refuse('out_of_order', counts.outOfOrder);
  refuse('duplicate_timestamp', counts.conflicting);
  refuse('too_old', counts.tooOld);
  refuse('too_far_ahead', counts.tooFarAhead);
  refuse('series_limit', counts.seriesLimit);
}
