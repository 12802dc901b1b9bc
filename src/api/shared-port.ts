/**
 * Several protocols on one port: a connection that begins with HTTP/2's preface or with a handshake of TLS is handed to
 * somebody else, every other one stays with the HTTP/1.1 server that listens there. Kedify's scaler serves KEDA where others
 * serve OTLP over HTTP, and does so over TLS if it is told to.
 */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { LIMITS } from '../model/limits.ts';

/** RFC 9113, section 3.4. Its first bytes are no request that HTTP/1.1 knows. */
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

/** The first byte of a handshake (RFC 8446, section 5.1); a request is text. */
const TLS_HANDSHAKE = 22;

type Take = (connection: Socket) => void;

/** Looks at the first bytes of each new connection of the server; whoever takes one owns it from then on. */
export function sharePort(server: Server, takeHttp2: Take, takeTls: Take | null = null): void {
  const takeHttp1 = server.listeners('connection') as ((connection: Socket) => void)[];
  server.removeAllListeners('connection');
  server.on('connection', (connection: Socket) => {
    // Nobody else waits for it yet: who connects and says nothing is not kept.
    connection.setTimeout(LIMITS.httpHeadersTimeoutMs, () => connection.destroy());
    connection.once('error', destroyIt);
    // Node's server may leave the other half open; who says goodbye and nothing else wants no answer.
    connection.once('end', destroyIt);
    connection.once('data', (first: Buffer) => {
      connection.setTimeout(0);
      connection.removeAllListeners('timeout');
      connection.off('error', destroyIt);
      connection.off('end', destroyIt);
      connection.pause();
      connection.unshift(first);
      // TLS reads the connection below this stream, what was read of it first.
      if (takeTls !== null && first[0] === TLS_HANDSHAKE) return takeTls(connection);
      if (startsLikeHttp2(first)) takeHttp2(connection);
      else for (const take of takeHttp1) take.call(server, connection);
      process.nextTick(() => connection.resume());
    });
  });
}

function destroyIt(this: Socket): void {
  this.destroy();
}

/** A few bytes decide: no method of HTTP/1.1 begins with `PRI `. */
function startsLikeHttp2(first: Buffer): boolean {
  const length = Math.min(first.length, PREFACE.length);
  return length >= 4 && first.subarray(0, length).equals(PREFACE.subarray(0, length));
}
