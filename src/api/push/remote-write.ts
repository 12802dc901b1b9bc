/** Remote write over HTTP, 1.0 and 2.0, at the paths that senders use. */
import type { Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { LIMITS } from '../../model/limits.ts';
import { rawBody, takeRawBodies } from './media.ts';
import type { PushDeps } from './push.ts';
import { negotiateRemoteWrite, type RemoteWriteVersion } from './remote-write-negotiation.ts';
import { replyFault, replyOutcome } from './remote-write-reply.ts';
import { faultOf } from './reply.ts';

const PATHS = ['/api/v1/write', '/api/v1/push', '/write'];

declare module 'fastify' {
  interface FastifyRequest {
    /** Null until the headers of a remote-write request were read. */
    remoteWriteVersion: RemoteWriteVersion | null;
  }
}

/** The routes, on a scope of their own: its parser and error handler reach no other route. */
export function registerRemoteWrite(scope: FastifyInstance, { writer, logger }: PushDeps): void {
  takeRawBodies(scope, LIMITS.remoteWriteBodyBytesMax);
  scope.decorateRequest('remoteWriteVersion', null);
  scope.setErrorHandler((error, request, reply) => {
    const fault = faultOf(error, logger);
    // What the writer itself threw is counted there.
    if (!request.writerCalled) writer.countRefused('remote_write', fault.code);
    return replyFault(reply, request.remoteWriteVersion, error, fault);
  });
  for (const url of PATHS) {
    scope.post(url, {
      // Before the body is read: nobody should send megabytes to learn that their type is wrong.
      onRequest: async (request) => {
        const { 'content-type': type, 'content-encoding': encoding } = request.headers;
        request.remoteWriteVersion = negotiateRemoteWrite(type, encoding);
      },
      handler: (request, reply) => {
        request.writerCalled = true;
        const version = request.remoteWriteVersion ?? 1;
        const body = rawBody(request.body);
        const connection = connectionOf(request.raw.socket);
        const outcome = version === 2 ? writer.remoteWrite2(body, connection) : writer.remoteWrite(body, connection);
        return replyOutcome(reply, outcome);
      },
    });
  }
}

const connections = new WeakMap<Socket, number>();
let connectionsSeen = 0;

/** A number for a connection: a sender repeats the order of its series over each of its connections. */
function connectionOf(socket: Socket): number {
  let connection = connections.get(socket);
  if (connection === undefined) {
    connection = ++connectionsSeen;
    connections.set(socket, connection);
  }
  return connection;
}
