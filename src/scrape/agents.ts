/**
 * How the targets of a job are reached: connections that are kept open, TLS and credentials. Files are read again every few
 * seconds, because what lies in them is rotated.
 */
import { readFileSync } from 'node:fs';
import { Agent as HttpAgent } from 'node:http';
import { type AgentOptions, Agent as HttpsAgent } from 'node:https';
import type { ScrapeJob } from '../config/scrape-schema.ts';

const READ_AGAIN_MS = 5000;
const KEEP_ALIVE = { keepAlive: true, maxFreeSockets: 1 };

export class Agents {
  readonly #job: Pick<ScrapeJob, 'tls' | 'basicAuth' | 'authorization'>;
  readonly #http = new HttpAgent(KEEP_ALIVE);
  #https: HttpsAgent | null = null;
  #read = '';
  #readAtMs = Number.NEGATIVE_INFINITY;

  constructor(job: Pick<ScrapeJob, 'tls' | 'basicAuth' | 'authorization'>) {
    this.#job = job;
  }

  /** Throws if a file cannot be read. */
  agentFor(url: string, nowMs: number): HttpAgent | HttpsAgent {
    if (!url.startsWith('https:')) return this.#http;
    if (this.#https !== null && nowMs - this.#readAtMs < READ_AGAIN_MS) return this.#https;
    const options = this.#tlsOptions();
    const read = JSON.stringify(options);
    this.#readAtMs = nowMs;
    if (this.#https === null || read !== this.#read) {
      if (this.#https !== null) closeIdle(this.#https);
      this.#https = new HttpsAgent({ ...KEEP_ALIVE, ...options });
      this.#read = read;
    }
    return this.#https;
  }

  /** The header with the credentials, if there are any. Throws if a file cannot be read. */
  credentials(): Readonly<Record<string, string>> {
    const { basicAuth, authorization } = this.#job;
    if (basicAuth !== null) {
      const { username, password, passwordFile } = basicAuth;
      const text = `${username}:${passwordFile === '' ? password : readSecret(passwordFile)}`;
      return { authorization: `Basic ${Buffer.from(text).toString('base64')}` };
    }
    if (authorization === null) return {};
    const { type, credentials, credentialsFile } = authorization;
    return { authorization: `${type} ${credentialsFile === '' ? credentials : readSecret(credentialsFile)}` };
  }

  close(): void {
    this.#http.destroy();
    this.#https?.destroy();
  }

  #tlsOptions(): AgentOptions {
    const { caFile, certFile, keyFile, serverName, insecureSkipVerify } = this.#job.tls;
    return {
      ...(caFile === '' ? {} : { ca: readFileSync(caFile, 'utf8') }),
      ...(certFile === '' ? {} : { cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') }),
      ...(serverName === '' ? {} : { servername: serverName }),
      rejectUnauthorized: !insecureSkipVerify,
    };
  }
}

/** What is under way over the others goes on. */
function closeIdle(agent: HttpsAgent): void {
  for (const sockets of Object.values(agent.freeSockets)) for (const socket of sockets ?? []) socket.destroy();
}

function readSecret(path: string): string {
  return readFileSync(path, 'utf8').trim();
}
