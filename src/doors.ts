/**
 * Part of the composition root: who may come in by which port, and how each is served over TLS, from one file
 * (`--web.config.file`). `--keda.tls-*` win over it on the KEDA port. The Kubernetes port has its own ways, those of an
 * aggregated API server.
 */
import { readFileSync } from 'node:fs';
import type { Server as TlsServer } from 'node:tls';
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { guardRoutes } from './api/access.ts';
import { Connections } from './api/connections.ts';
import { Guard } from './api/guard.ts';
import { buildHttp, listenHttp } from './api/http.ts';
import { Identities } from './api/identities.ts';
import { mayStay, type ReadTls, readTlsFiles, registerExpiry, reloadTls, tlsServerOptions } from './api/tls.ts';
import { ownTlsOf, readWebFile } from './config/load.ts';
import type { Config } from './config/schema.ts';
import { type Address, isLoopback } from './config/values.ts';
import { PORTS, type PortName } from './model/access.ts';
import { CodedError } from './model/errors.ts';
import type { Registry } from './telemetry/registry.ts';

interface Around {
  readonly config: Config;
  readonly logger: Logger;
  readonly registry: Registry;
}

export class Doors {
  /** What is open, of all ports. */
  readonly connections: Connections;
  readonly #around: Around;
  readonly #identities: Identities;
  readonly #tls = new Map<PortName, ReadTls>();

  /** Throws `bad_config` if the files cannot be used. */
  constructor(around: Around) {
    const { config, logger, registry } = around;
    this.#around = around;
    const { connectionsMax: max, connectionsPerAddressMax: perAddressMax } = config.web;
    this.connections = new Connections({ max, perAddressMax, logger, registry });
    const readRules = () => readWebFile(config, readText);
    this.#identities = new Identities({ readRules, readText, logger, registry });
    for (const port of PORTS) {
      const read = this.#tlsOf(port);
      if (read !== null) this.#tls.set(port, checked(port, read));
    }
    registerExpiry(registry, this.#tls);
    this.#identities.watch();
  }

  /** Looks at tokens and names now. Certificates are looked at every few seconds anyway. */
  refresh(): void {
    this.#identities.refresh();
  }

  close(): void {
    this.#identities.close();
  }

  /** Null for plain text. */
  readTls(port: PortName): ReadTls | null {
    return this.#tls.get(port) ?? null;
  }

  guard(port: PortName): Guard {
    const { config, registry } = this.#around;
    const address = addressOf(config, port);
    const read = this.readTls(port);
    const files = read === null ? null : read();
    return new Guard({
      identities: this.#identities,
      port,
      isLoopback: address === null || isLoopback(address),
      isCertified: files !== null && files.clientCaPem !== null && files.isCertificateOptional !== true,
      waived: config.auth.waive,
      registry,
    });
  }

  /** Serves HTTP on a port, plain or over TLS, its routes guarded. */
  async openHttp(
    port: 'web' | 'otlp_http',
    address: Address,
    register: (app: FastifyInstance, guard: Guard) => Promise<void>,
  ): Promise<{ readonly address: string; close(): Promise<void> }> {
    const { logger, registry } = this.#around;
    const read = this.readTls(port);
    const app = buildHttp({ logger, registry, ...(read === null ? {} : { https: tlsServerOptions(read()) }) });
    const guard = this.guard(port);
    guardRoutes(app, guard);
    await register(app, guard);
    this.connections.of(port).bound(app.server);
    const bound = await listenHttp(app, address);
    if (read === null) return { address: bound, close: () => app.close() };
    const server = app.server as unknown as TlsServer;
    server.prependListener('secureConnection', (socket) => {
      if (!mayStay(socket)) socket.destroy();
    });
    const stop = reloadTls({ server, read, what: `the port ${bound}`, logger });
    const close = (): Promise<void> => {
      stop();
      return app.close();
    };
    return { address: bound, close };
  }

  #tlsOf(port: PortName): ReadTls | null {
    const { keda, otlp } = this.#around.config;
    const own = port === 'keda' ? ownTlsOf(keda) : port === 'otlp_grpc' ? ownTlsOf(otlp.grpc) : null;
    if (own !== null) return () => readTlsFiles(own, readText);
    if (this.#identities.rules.tls[port] === null) return null;
    return () => {
      const settings = this.#identities.rules.tls[port];
      if (settings === null) throw new CodedError('bad_config', `cannot serve ${port} in plain text: want a restart`);
      return readTlsFiles(settings, readText);
    };
  }
}

function checked(port: PortName, read: ReadTls): ReadTls {
  try {
    tlsServerOptions(read());
    return read;
  } catch (cause) {
    const reason = (cause as Error).message;
    throw new CodedError('bad_config', `cannot use the certificates of ${port}: ${reason}`, { cause });
  }
}

function addressOf({ web, otlp, keda }: Config, port: PortName): Address | null {
  if (port === 'web') return web.listenAddress;
  if (port === 'keda') return keda.listenAddress;
  return port === 'otlp_grpc' ? otlp.grpc.listenAddress : otlp.http.listenAddress;
}

function readText(path: string): string {
  return readFileSync(path, 'utf8');
}
