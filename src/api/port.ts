/**
 * The listening side of a gRPC port: plain text or TLS, each connection handed on as a stream of bytes. Certificates are
 * configured and read again in the same way on all ports.
 */

import type { AddressInfo } from 'node:net';
import { createServer, type Server as NetServer, type Socket } from 'node:net';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:tls';
import type { Logger } from 'pino';
import { LIMITS } from '../model/limits.ts';
import type { PortConnections } from './connections.ts';
import { mayStay, type ReadTls, reloadTls, type TlsFiles, tlsServerOptions } from './tls.ts';

export interface PortOptions {
  readonly listen: { readonly host: string; readonly port: number };
  /** Null for plain text. Throws if the files cannot be read. */
  readonly readTls: ReadTls | null;
  /** The port, for people: `the KEDA port`. */
  readonly what: string;
  readonly reloadMs?: number;
  readonly logger: Logger;
  readonly accept: (connection: Socket) => void;
  /** Bounds on them; a number alone, if absent. */
  readonly connections?: PortConnections | null;
}

export interface Port {
  /** host:port that is really bound. */
  readonly address: string;
  /** Serves a connection that came by another way, with TLS if the port has it. */
  take(connection: Socket): void;
  /** Takes no new connections; those that are open stay. */
  close(): void;
}

/** Listens; rejects if the address cannot be bound, or the files cannot be used. */
export async function openPort(options: PortOptions): Promise<Port> {
  const { listen, accept, readTls, reloadMs: everyMs, what, logger } = options;
  const server = readTls === null ? createServer(accept) : tlsServer(readTls(), options);
  server.maxConnections = LIMITS.httpConnectionsMax;
  options.connections?.bound(server);
  await listening(server, listen);
  const stopReloading =
    readTls === null ? () => {} : reloadTls({ server: server as TlsServer, read: readTls, what, logger, everyMs });
  const { address, port } = server.address() as AddressInfo;
  return {
    address: `${address.includes(':') ? `[${address}]` : address}:${port}`,
    take: (connection) => void server.emit('connection', connection),
    close: () => {
      stopReloading();
      server.close();
    },
  };
}

function tlsServer(files: TlsFiles, { accept, what, logger }: PortOptions): TlsServer {
  const server = createTlsServer({ ...tlsServerOptions(files), ALPNProtocols: ['h2'] });
  server.on('secureConnection', (connection) => {
    if (mayStay(connection)) accept(connection);
    else connection.destroy();
  });
  server.on('tlsClientError', (error) => logger.debug({ err: error }, `a TLS handshake of ${what} failed`));
  return server;
}

function listening(server: NetServer, { host, port }: PortOptions['listen']): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
