/**
 * Replies to remote-write, with the status codes of Prometheus: a sender repeats a request on 5xx for ever and never on
 * 4xx, so what can never succeed is a 400, what may succeed later a 503 that says when, and nothing is a 429.
 *
 * Replies to 2.0 say what was written, faults included. Replies to 1.0 do not: those headers are how a sender of 2.0
 * recognises a receiver of 2.0 (prometheus/docs, docs/specs/prw/remote_write_spec_2_0.md).
 */
import type { FastifyReply } from 'fastify';
import { PartlyStored, type RequestOutcome, type WriteOutcome } from '../../ingest/write.ts';
import type { RemoteWriteVersion } from './remote-write-negotiation.ts';
import type { Fault } from './reply.ts';

/** Overload passes with the next period of retention, or with the load: senders back off by themselves from there. */
const RETRY_AFTER_SECONDS = 5;
const TEXT = 'text/plain; charset=utf-8';
const NOTHING = { samplesStored: 0, histogramsStored: 0, exemplarsStored: 0 };

export function replyOutcome(reply: FastifyReply, outcome: WriteOutcome | RequestOutcome): FastifyReply {
  if ('exemplarsStored' in outcome) sayWritten(reply, outcome);
  if (outcome.samplesRefused === 0) return reply.code(204).send();
  return reply.code(400).type(TEXT).send(`${outcome.message}\n`);
}

/** `version` is null for a request whose version was not made out. */
export function replyFault(
  reply: FastifyReply,
  version: RemoteWriteVersion | null,
  error: unknown,
  { httpStatus, message }: Fault,
): FastifyReply {
  if (version === 2) sayWritten(reply, error instanceof PartlyStored ? error.outcome : NOTHING);
  if (httpStatus === 503) reply.header('retry-after', RETRY_AFTER_SECONDS);
  return reply.code(httpStatus).type(TEXT).send(`${message}\n`);
}

type Written = Pick<RequestOutcome, 'samplesStored' | 'histogramsStored' | 'exemplarsStored'>;

function sayWritten(reply: FastifyReply, { samplesStored, histogramsStored, exemplarsStored }: Written): void {
  reply.header('x-prometheus-remote-write-samples-written', samplesStored - histogramsStored);
  reply.header('x-prometheus-remote-write-histograms-written', histogramsStored);
  reply.header('x-prometheus-remote-write-exemplars-written', exemplarsStored);
}
