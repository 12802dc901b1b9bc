/** Remote write over HTTP, 1.0 and 2.0, at the paths that senders use. */
import type { Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import type { Sender } from '../../ingest/senders.ts';
import type { Writer } from '../../ingest/write.ts';
import { LIMITS } from '../../model/limits.ts';
import { type Identity, NOBODY } from '../guard.ts';
import { type Answer, addHotRoute, type HotHeaders, type HotRequest } from '../hot-route.ts';
import { described } from '../openapi.ts';
import { REMOTE_WRITE } from './described.ts';
import type { PushDeps } from './push.ts';
import { negotiateRemoteWrite, type RemoteWriteVersion } from './remote-write-negotiation.ts';
import { answerFault, answerOutcome } from './remote-write-reply.ts';
import { faultOf } from './reply.ts';
import { peerOf } from './sender.ts';
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
        const connection = connectionOf(request.socket);
        connection.who = NOBODY;
        if (guard !== null) connection.who = guard.admitHttp('write', request);
        versionOf(headers);
        takeIntoFlight(headers['content-length'], whenOver);
      },
      answer: (body, request) => store(body, request, deps),
      refuse: (error, request) => {
        const fault = faultOf(error, logger);
        writer.countRefused('remote_write', fault.code, fault.message, senderOf(request, writer));
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
    if (guard !== null) connection.who = guard.admitHttp('write', request);
    const { namespace: stamp } = connection.who;
    const sender = senderOf(request, writer);
    const outcome =
      version === 2
        ? writer.remoteWrite2(body, connection.number, stamp, sender)
        : writer.remoteWrite(body, connection.number, stamp, sender);
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

function senderOf({ socket, headers }: HotRequest, writer: Writer): Sender {
  const { name, namespace } = connectionOf(socket).who;
  return writer.senders.of('remote_write', {
    peer: peerOf(socket),
    name,
    namespace,
    userAgent: headers['user-agent'] ?? '',
  });
}

interface Connection {
  /** A sender repeats the order of its series over each of its connections. */
  readonly number: number;
  /** Of the request that is being read. */
  who: Identity;
}

const connections = new WeakMap<Socket, Connection>();
let connectionsSeen = 0;

function connectionOf(socket: Socket): Connection {
  let connection = connections.get(socket);
  if (connection === undefined) {
    connection = { number: ++connectionsSeen, who: NOBODY };
    connections.set(socket, connection);
  }
  return connection;
}
