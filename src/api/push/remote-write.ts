/** Remote write over HTTP, 1.0 and 2.0, at the paths that senders use. */
import type { Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { LIMITS } from '../../model/limits.ts';
import { type Answer, addHotRoute, type HotHeaders, type HotRequest } from '../hot-route.ts';
import { described } from '../openapi.ts';
import { REMOTE_WRITE } from './described.ts';
import type { PushDeps } from './push.ts';
import { negotiateRemoteWrite, type RemoteWriteVersion } from './remote-write-negotiation.ts';
import { answerFault, answerOutcome } from './remote-write-reply.ts';
import { faultOf } from './reply.ts';
import { takeIntoFlight } from './shedding.ts';

const PATHS = ['/api/v1/write', '/api/v1/push', '/write'];

export function registerRemoteWrite(app: FastifyInstance, deps: PushDeps): void {
  const { writer, logger, guard = null } = deps;
  for (const url of PATHS) {
    addHotRoute(app, {
      url,
      schema: described(REMOTE_WRITE),
      bodyBytesMax: LIMITS.remoteWriteBodyBytesMax,
      check: (request, whenOver) => {
        const { headers } = request;
        guard?.admitHttp('write', request);
        versionOf(headers);
        takeIntoFlight(headers['content-length'], whenOver);
      },
      answer: (body, request) => store(body, request, deps),
      refuse: (error) => {
        const fault = faultOf(error, logger);
        writer.countRefused('remote_write', fault.code, fault.message);
        return answerFault(1, error, fault);
      },
    });
  }
}

function store(
  body: Uint8Array,
  request: HotRequest,
  { writer, logger, guard = null }: PushDeps,
): Answer | Promise<Answer> {
  const version = versionOf(request.headers);
  const connection = connectionOf(request.socket);
  try {
    const stamp = guard === null ? '' : guard.admitHttp('write', request).namespace;
    const outcome =
      version === 2 ? writer.remoteWrite2(body, connection, stamp) : writer.remoteWrite(body, connection, stamp);
    if (outcome.logged === undefined) return answerOutcome(outcome);
    return outcome.logged.then(
      () => answerOutcome(outcome),
      (error) => answerFault(version, error, faultOf(error, logger)),
    );
  } catch (error) {
    // The writer has counted what it threw.
    return answerFault(version, error, faultOf(error, logger));
  }
}

/** Throws `unsupported_media_type`. */
function versionOf(headers: HotHeaders): RemoteWriteVersion {
  const contentType = headers['content-type'];
  // What every sender sends needs no parsing.
  if (contentType === 'application/x-protobuf' && headers['content-encoding'] === 'snappy') return 1;
  return negotiateRemoteWrite(contentType, headers['content-encoding']);
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
