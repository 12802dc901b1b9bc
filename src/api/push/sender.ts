/** Whose account a request goes on. */
import type { Socket } from 'node:net';
import type { FastifyRequest } from 'fastify';
import type { Sender } from '../../ingest/senders.ts';
import type { Protocol, Writer } from '../../ingest/write.ts';
import { identityOf } from '../access.ts';

/** The address of a peer; one of IPv4 is written as such on every socket. */
export function peerOf({ remoteAddress = '' }: Pick<Socket, 'remoteAddress'>): string {
  return remoteAddress.startsWith('::ffff:') ? remoteAddress.slice('::ffff:'.length) : remoteAddress;
}

export function senderOfRequest(request: FastifyRequest, protocol: Protocol, { senders }: Writer): Sender {
  const { name, namespace } = identityOf(request);
  const userAgent = request.headers['user-agent'] ?? '';
  return senders.of(protocol, { peer: peerOf(request.raw.socket), name, namespace, userAgent });
}
