/**
 * Remote-write 1.0 into the head. The store's kernel decompresses the body, walks it and appends; what comes back is the
 * account, and the few TimeSeries that the kernel leaves to us: labels in no canonical form, native histograms.
 */
import { CodedError } from '../../model/errors.ts';
import type { HeadWriter } from '../../tsdb/head.ts';
import type { KernelHead, RemoteWriteCounts } from '../../tsdb/kernel-head.ts';
import { type Reason, reasonOfOutcome } from '../reasons.ts';
import type { Tally } from '../tally.ts';
import { readSeriesLabels, storeTimeSeries } from './decode.ts';

export type RemoteWriteHead = HeadWriter & Pick<KernelHead, 'writeRemoteWrite'>;

/**
 * Stores a body as sent. `connection` numbers the sender's connection. Throws `bad_body` or `body_too_large`, and has then
 * stored nothing; `overloaded` if memory has no room for samples of known series, which a sender repeats.
 */
export function storeRemoteWrite(body: Uint8Array, connection: number, head: RemoteWriteHead, tally: Tally): void {
  const counts = head.writeRemoteWrite(body, connection);
  tally.samplesStored += counts.stored + counts.duplicate;
  tally.exemplarsIgnored += counts.exemplars;
  tally.metadataIgnored += counts.metadata;
  refuse('out_of_order', counts.outOfOrder, counts, tally);
  refuse('duplicate_timestamp', counts.conflicting, counts, tally);
  refuse('too_old', counts.tooOld, counts, tally);
  refuse('too_far_ahead', counts.tooFarAhead, counts, tally);
  refuse('series_limit', counts.seriesLimit, counts, tally);
  for (const message of counts.odd) storeTimeSeries(message, head, tally);
  if (counts.noMemory > 0) {
    throw new CodedError(
      'overloaded',
      `cannot store ${counts.noMemory} samples: memory is full, send them again later`,
    );
  }
}

function refuse(reason: Reason, count: number, { refusals }: RemoteWriteCounts, tally: Tally): void {
  if (count === 0) return;
  // Only the first few refusals are known by series; of a rare reason there may be none.
  const example = refusals.find(({ outcome }) => reasonOfOutcome(outcome) === reason);
  tally.refuse(reason, count, example === undefined ? '' : readSeriesLabels(example.timeSeries));
}
