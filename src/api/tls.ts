/**
 * TLS of any port: what its files say, and how they are read again. Certificates are looked at every few seconds, since
 * clients keep their connections for weeks, and new ones must see the renewed files.
 */
import { X509Certificate } from 'node:crypto';
import type { ServerOptions as HttpsServerOptions } from 'node:https';
import { createSecureContext, type SecureContextOptions, type TLSSocket, type Server as TlsServer } from 'node:tls';
import type { Logger } from 'pino';
import type { TlsSettings } from '../model/access.ts';
import { LIMITS } from '../model/limits.ts';
import type { Registry } from '../telemetry/registry.ts';

/** The files of TLS as they are now. */
export interface TlsFiles {
  readonly certPem: string;
  readonly keyPem: string;
  /** Authorities of the clients' certificates; null asks for none. */
  readonly clientCaPem: string | null;
  /** Lets clients in that show no certificate; one that cannot be verified never gets in. */
  readonly isCertificateOptional?: boolean;
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3';
}

export type ReadTls = () => TlsFiles;

const RELOAD_MS = 5000;

export function readTlsFiles(
  { certFile, keyFile, clientCaFile, isCertificateRequired, minVersion }: TlsSettings,
  readText: (path: string) => string,
): TlsFiles {
  return {
    certPem: readText(certFile),
    keyPem: readText(keyFile),
    clientCaPem: clientCaFile === '' ? null : readText(clientCaFile),
    isCertificateOptional: !isCertificateRequired,
    minVersion,
  };
}

/** What a server of Node takes; throws for files that do not go together. */
export function tlsServerOptions(files: TlsFiles): HttpsServerOptions {
  const context = contextOf(files);
  createSecureContext(context);
  const asksForCertificate = files.clientCaPem !== null;
  return {
    ...context,
    requestCert: asksForCertificate,
    rejectUnauthorized: asksForCertificate && files.isCertificateOptional !== true,
    handshakeTimeout: LIMITS.httpHeadersTimeoutMs,
  };
}

/** False for a client that showed a certificate which nobody vouches for. */
export function mayStay(socket: TLSSocket): boolean {
  return socket.authorized || Object.keys(socket.getPeerCertificate() ?? {}).length === 0;
}

export interface ReloadOptions {
  readonly server: TlsServer;
  readonly read: ReadTls;
  /** The port, for people: `the KEDA port`. */
  readonly what: string;
  readonly logger: Logger;
  readonly everyMs?: number | undefined;
}

/** Looks at the files again and again, and uses them once they differ; what cannot be used changes nothing. */
export function reloadTls({ server, read, what, logger, everyMs = RELOAD_MS }: ReloadOptions): () => void {
  let used = JSON.stringify(read());
  let refused = '';
  const look = (): void => {
    let seen = '';
    try {
      const files = read();
      seen = JSON.stringify(files);
      if (seen === used || seen === refused) return;
      const context = contextOf(files);
      // Throws for files that do not go together, for example while only one of them has been renewed.
      createSecureContext(context);
      server.setSecureContext(context);
      used = seen;
      logger.info({ event: 'certificate_reloaded' }, `${what} uses renewed certificates`);
    } catch (error) {
      if (seen !== '' && seen === refused) return;
      refused = seen;
      logger.warn({ err: error }, `renewed certificates of ${what} cannot be used; the former ones stay`);
    }
  };
  const timer = setInterval(look, everyMs);
  timer.unref();
  return () => clearInterval(timer);
}

/** Says until when the certificates are good that are on the disk now. */
export function registerExpiry(registry: Registry, ports: ReadonlyMap<string, ReadTls>): void {
  registry.collected(
    'gauge',
    'tidegauge_tls_certificate_not_after_seconds',
    'When the certificate of a port ends, in seconds since 1970.',
    ['port'],
    () => [...ports].flatMap(([port, read]) => expiryOf(port, read)),
  );
}

function expiryOf(port: string, read: ReadTls): readonly { labels: readonly string[]; value: number }[] {
  try {
    return [{ labels: [port], value: Date.parse(new X509Certificate(read().certPem).validTo) / 1000 }];
  } catch {
    return [];
  }
}

function contextOf({ certPem, keyPem, clientCaPem, minVersion = 'TLSv1.2' }: TlsFiles): SecureContextOptions {
  return { cert: certPem, key: keyPem, minVersion, ...(clientCaPem === null ? {} : { ca: clientCaPem }) };
}
