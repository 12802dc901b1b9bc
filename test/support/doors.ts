/** Ports behind the doors of the daemon, in this process: a folder of tokens and certificates, and what listens. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { createAuthority, issueCertificate } from '../../src/api/kubernetes/certificate.ts';
import { openOtlpGrpc, registerOtlpHttp, registerPush } from '../../src/api/push/push.ts';
import { loadConfig } from '../../src/config/load.ts';
import { Doors } from '../../src/doors.ts';
import type { PortName } from '../../src/model/access.ts';
import { Registry } from '../../src/telemetry/registry.ts';
import { bench } from '../ingest/support.ts';

type HttpRoutes = Parameters<Doors['openHttp']>[2];

export class DoorsSite {
  readonly folder = mkdtempSync(join(tmpdir(), 'tidegauge-doors-'));
  readonly logs: string[] = [];
  readonly registry = new Registry();
  readonly logger = pino({ level: 'debug' }, { write: (line: string) => void this.logs.push(line) });
  readonly bench = bench({ nowMs: Date.now });
  readonly #closing: (() => Promise<unknown> | unknown)[] = [];
  doors: Doors | null = null;

  /** Writes a file into the folder; its path. */
  write(name: string, text: string): string {
    const path = join(this.folder, name);
    writeFileSync(path, text);
    return path;
  }

  /** Authorities and certificates for `localhost` and a client, under these names. */
  writeCertificates(prefix = ''): { readonly caPem: string; readonly client: (names: ClientNames) => OwnCertificate } {
    const authority = createAuthority(Date.now());
    const names = ['localhost', '127.0.0.1'];
    const leaf = issueCertificate(authority, { commonName: 'tidegauge', names, usage: 'server', nowMs: Date.now() });
    this.write(`${prefix}tls.crt`, leaf.certPem);
    this.write(`${prefix}tls.key`, leaf.keyPem);
    this.write(`${prefix}ca.crt`, authority.certPem);
    const client = ({ commonName, san }: ClientNames): OwnCertificate =>
      issueCertificate(authority, {
        commonName,
        usage: 'client',
        nowMs: Date.now(),
        ...(san === undefined ? {} : { names: [san] }),
      });
    return { caPem: authority.certPem, client };
  }

  /** Reads a configuration file of these lines, and the flags. */
  open(webFile: string, flags: readonly string[] = []): Doors {
    const file = this.write('web.yml', webFile);
    const machine = { memoryBytes: 2 ** 33, constrainedMemoryBytes: 0 };
    const config = loadConfig([`--web.config.file=${file}`, ...flags], {}, () => webFile, machine);
    this.doors = new Doors({ config, logger: this.logger, registry: this.registry });
    return this.doors;
  }

  /** `host:port` of what these routes listen on. */
  async http(port: 'web' | 'otlp_http', register: HttpRoutes): Promise<string> {
    const opened = await this.doors!.openHttp(port, { host: '127.0.0.1', port: 0 }, register);
    this.#closing.push(() => opened.close());
    return opened.address;
  }

  web(): Promise<string> {
    return this.http('web', async (app, guard) => {
      registerPush(app, { writer: this.bench.writer, logger: this.logger, guard });
      app.get('/api/v1/labels', async () => 'labels');
      app.get('/-/healthy', async () => 'healthy');
      app.get('/api/v1/scale/value', async () => '1');
      app.post('/-/quit', async () => 'quit');
    });
  }

  otlpHttp(): Promise<string> {
    return this.http('otlp_http', async (app) =>
      registerOtlpHttp(app, { writer: this.bench.writer, logger: this.logger }),
    );
  }

  async otlpGrpc(): Promise<string> {
    const { writer } = this.bench;
    const listen = { host: '127.0.0.1', port: 0 };
    const opened = await openOtlpGrpc({
      listen,
      writer,
      logger: this.logger,
      closeMsMax: 200,
      ...this.door('otlp_grpc'),
    });
    this.#closing.push(() => opened.close());
    return opened.address;
  }

  door(port: PortName) {
    return { guard: this.doors!.guard(port), readTls: this.doors!.readTls(port) };
  }

  later(close: () => Promise<unknown> | unknown): void {
    this.#closing.push(close);
  }

  async close(): Promise<void> {
    for (const close of this.#closing.reverse()) await close();
    this.doors?.close();
    rmSync(this.folder, { recursive: true });
  }
}

export interface ClientNames {
  readonly commonName: string;
  readonly san?: string;
}

export interface OwnCertificate {
  readonly certPem: string;
  readonly keyPem: string;
}
