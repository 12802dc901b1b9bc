/**
 * The listening side of the KEDA port: plain text or TLS, each connection handed on as a stream of bytes. Certificates
 * are read again every few seconds: KEDA keeps its connections for weeks, and new ones must see the renewed files.
 */

import type { AddressInfo } from 'node:net';
import { createServer, type Server as NetServer, type Socket } from 'node:net';
import {
  createSecureContext,
  createServer as createTlsServer,
  type SecureContextOptions,
  type Server as TlsServer,
} from 'node:tls';
import type { Logger } from 'pino';
import { LIMITS } from '../../model/limits.ts';

/** The files of TLS as they are now. */
export interface TlsFiles {
  readonly certPem: string;
  readonly keyPem: string;
  /** Who may come: then every client must show a certificate of these authorities. Null lets everybody in. */
  readonly clientCaPem: string | null;
}

export interface PortOptions {
  readonly listen: { readonly host: string; readonly port: number };
  /** Null for plain text. Throws if the files cannot be read. */
  readonly readTls: (() => TlsFiles) | null;
  readonly reloadMs?: number;
  readonly logger: Logger;
  readonly accept: (connection: Socket) => void;
}

export interface Port {
  /** host:port that is really bound. */
  readonly address: string;
  /** Takes no new connections; those that are open stay. */
  close(): void;
}

const RELOAD_MS = 5000;

/** Listens; rejects if the address cannot be bound, or the files cannot be used. */
export async function openPort(options: PortOptions): Promise<Port> {
  const { listen, accept, readTls, logger } = options;
  const server = readTls === null ? createServer(accept) : tlsServer(readTls(), accept, logger);
  server.maxConnections = LIMITS.httpConnectionsMax;
  await listening(server, listen);
  const stopReloading =
    readTls === null ? () => {} : reload(server as TlsServer, readTls, options.reloadMs ?? RELOAD_MS, logger);
  const { address, port } = server.address() as AddressInfo;
  return {
    address: `${address.includes(':') ? `[${address}]` : address}:${port}`,
    close: () => {
      stopReloading();
      server.close();
    },
  };
}

function tlsServer(files: TlsFiles, accept: (connection: Socket) => void, logger: Logger): TlsServer {
  const asksForCertificate = files.clientCaPem !== null;
  const server = createTlsServer({
    ...contextOf(files),
    requestCert: asksForCertificate,
    rejectUnauthorized: asksForCertificate,
    ALPNProtocols: ['h2'],
    handshakeTimeout: LIMITS.httpHeadersTimeoutMs,
  });
  server.on('secureConnection', accept);
  server.on('tlsClientError', (error) => logger.debug({ err: error }, 'a TLS handshake of the KEDA port failed'));
  return server;
}

function contextOf({ certPem, keyPem, clientCaPem }: TlsFiles): SecureContextOptions {
  return { cert: certPem, key: keyPem, minVersion: 'TLSv1.2', ...(clientCaPem === null ? {} : { ca: clientCaPem }) };
}

/** Looks at the files again and again, and uses them once they differ; what cannot be used changes nothing. */
function reload(server: TlsServer, readTls: () => TlsFiles, everyMs: number, logger: Logger): () => void {
  let used = JSON.stringify(readTls());
  let refused = '';
  const look = (): void => {
    let seen = '';
    try {
      const files = readTls();
      seen = JSON.stringify(files);
      if (seen === used || seen === refused) return;
      const context = contextOf(files);
      // Throws for files that do not go together, for example while only one of them has been renewed.
      createSecureContext(context);
      server.setSecureContext(context);
      used = seen;
      logger.info({ event: 'certificate_reloaded' }, 'the KEDA port uses renewed certificates');
    } catch (error) {
      if (seen !== '' && seen === refused) return;
      refused = seen;
      logger.warn({ err: error }, 'renewed certificates of the KEDA port cannot be used; the former ones stay');
    }
  };
  const timer = setInterval(look, everyMs);
  timer.unref();
  return () => clearInterval(timer);
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
