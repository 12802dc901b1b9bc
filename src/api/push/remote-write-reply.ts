/**
 * Replies to remote-write, with the status codes of Prometheus: a sender repeats a request on 5xx for ever and never on
 * 4xx, so what can never succeed is a 400, what may succeed later a 503 that says when, and nothing is a 429.
 *
 * Replies to 2.0 say what was written, faults included. Replies to 1.0 do not: those headers are how a sender of 2.0
 * recognises a receiver of 2.0 (prometheus/docs, docs/specs/prw/remote_write_spec_2_0.md).
 */
import { PartlyStored, type RequestOutcome, type WriteOutcome } from '../../ingest/write.ts';
import { CHALLENGE } from '../guard.ts';
import type { Answer } from '../hot-route.ts';
import type { RemoteWriteVersion } from './remote-write-negotiation.ts';
import type { Fault } from './reply.ts';
import { retrySeconds } from './shedding.ts';

const NOTHING = { samplesStored: 0, histogramsStored: 0, exemplarsStored: 0 };
const ALL_STORED: Answer = { status: 204 };

export function answerOutcome(outcome: WriteOutcome | RequestOutcome): Answer {
  const { samplesRefused, message } = outcome;
  if (!('exemplarsStored' in outcome)) return samplesRefused === 0 ? ALL_STORED : { status: 400, text: `${message}\n` };
  const headers = written(outcome);
  return samplesRefused === 0 ? { status: 204, headers } : { status: 400, headers, text: `${message}\n` };
}

export function answerFault(version: RemoteWriteVersion, error: unknown, { httpStatus, message }: Fault): Answer {
  const headers: Record<string, string> =
    version === 2 ? written(error instanceof PartlyStored ? error.outcome : NOTHING) : {};
  if (httpStatus === 503) headers['retry-after'] = String(retrySeconds());
  if (httpStatus === 401) headers['www-authenticate'] = CHALLENGE;
  return { status: httpStatus, headers, text: `${message}\n` };
}

function written(outcome: Pick<RequestOutcome, 'samplesStored' | 'histogramsStored' | 'exemplarsStored'>) {
  const { samplesStored, histogramsStored, exemplarsStored } = outcome;
  return {
    'x-prometheus-remote-write-samples-written': String(samplesStored - histogramsStored),
    'x-prometheus-remote-write-histograms-written': String(histogramsStored),
    'x-prometheus-remote-write-exemplars-written': String(exemplarsStored),
  };
}
