/**
 * An image of the memory for a second daemon that begins with nothing. It is everything that everybody sent, so it takes the
 * role `admin`. One is sent at a time; each of its blocks has a checksum, and one that ends too early is known by that.
 */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { LIMITS } from '../model/limits.ts';
import type { Cell, Registry } from '../telemetry/registry.ts';
import { described } from './openapi.ts';

export interface ReplicaDeps {
  readonly registry: Registry;
  /** False while there is nothing that a replica could take. */
  readonly hasImage: () => boolean;
  /** Throws `overloaded` if an image is being taken. */
  sendImage(write: (parts: readonly Uint8Array[]) => Promise<void>, isCancelled: () => boolean): Promise<void>;
}

const PATH = '/api/v1/replica/image';
const DESCRIBED = {
  tag: 'operation',
  summary: 'The memory, for a replica',
  reply: { type: 'application/octet-stream', description: 'an image, docs/formats/image.md' },
  errors: { 204: 'there is nothing yet', 503: 'an image is being taken; try again' },
} as const;

export function registerReplica(app: FastifyInstance, deps: ReplicaDeps): void {
  const outcomes = deps.registry.counter(
    'tidegauge_replica_images_sent_total',
    'Images that a replica asked for, by outcome: sent, empty, or failed.',
    'outcome',
  );
  app.get(PATH, { schema: described(DESCRIBED) }, async (request, reply) => {
    if (!deps.hasImage()) {
      outcomes.with('empty').value++;
      return reply.code(204).send();
    }
    reply.hijack();
    await send(reply.raw, deps, outcomes.with('sent'), outcomes.with('failed'), (error) =>
      request.log.warn({ err: error }, 'cannot send an image to a replica'),
    );
    return reply;
  });
}

async function send(
  response: ServerResponse,
  { sendImage }: ReplicaDeps,
  sent: Cell,
  failed: Cell,
  warn: (error: unknown) => void,
): Promise<void> {
  const deadlineMs = performance.now() + LIMITS.replicaImageMsMax;
  const isOver = (): boolean => response.destroyed || performance.now() > deadlineMs;
  const write = async (parts: readonly Uint8Array[]): Promise<void> => {
    if (!response.headersSent) response.writeHead(200, { 'content-type': 'application/octet-stream' });
    let isRoom = true;
    // The memory that they lie in changes as soon as this returns.
    for (const part of parts) isRoom = response.write(Buffer.from(part));
    if (!isRoom && !isOver()) await drained(response, deadlineMs - performance.now());
    if (isOver()) throw new Error('the replica is gone, or takes too long');
  };
  try {
    await sendImage(write, isOver);
    response.end();
    sent.value++;
  } catch (error) {
    failed.value++;
    warn(error);
    if (response.headersSent) response.destroy();
    else response.writeHead(503, { 'retry-after': '1', 'content-type': 'text/plain' }).end('an image is being taken\n');
  }
}

async function drained(response: ServerResponse, withinMs: number): Promise<void> {
  const ended = new AbortController();
  const timer = setTimeout(() => ended.abort(), withinMs);
  response.once('close', () => ended.abort());
  try {
    await once(response, 'drain', { signal: ended.signal });
  } catch {
    // Whoever waits looks at whether it is over.
  } finally {
    clearTimeout(timer);
  }
}
