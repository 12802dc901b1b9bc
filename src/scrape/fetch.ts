/**
 * One scrape over HTTP: the text that a target answers, within its limits of bytes and time. Redirects are followed to the
 * same address only: which addresses are asked is the operator's matter, not a target's.
 */
import { type Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { type Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { LIMITS } from '../model/limits.ts';

/** Why a scrape failed: a word for metrics, and a sentence for people. */
export class ScrapeError extends Error {
  readonly kind: ScrapeFailure;

  constructor(kind: ScrapeFailure, message: string, options?: { readonly cause: unknown }) {
    super(message, options);
    this.name = 'ScrapeError';
    this.kind = kind;
  }
}

export const SCRAPE_FAILURES = ['unreachable', 'timeout', 'status', 'too_large', 'malformed', 'overloaded'] as const;
export type ScrapeFailure = (typeof SCRAPE_FAILURES)[number];

/** Bytes of bodies that are being received, all targets together. */
export interface ByteBudget {
  used: number;
}

export interface FetchOptions {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly agent: HttpAgent | HttpsAgent;
  readonly bodyBytesMax: number;
  readonly followRedirects: boolean;
  readonly budget: ByteBudget;
  readonly signal: AbortSignal;
}

export interface Fetched {
  readonly text: Uint8Array;
  readonly isOpenMetrics: boolean;
}

/** What Prometheus asks for, without protobuf. */
export const SCRAPE_HEADERS: Readonly<Record<string, string>> = {
  accept:
    'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,' +
    'text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2',
  'accept-encoding': 'gzip',
};

/** Rejects with `ScrapeError`. */
export async function fetchText(options: FetchOptions): Promise<Fetched> {
  let { url } = options;
  for (let redirects = 0; ; redirects++) {
    const answer = await answerOf(options, url);
    if (typeof answer !== 'string') return answer;
    url = redirectOf(answer, url, options);
    if (redirects === LIMITS.scrapeRedirectsMax)
      throw new ScrapeError('status', `got more than ${redirects} redirects`);
  }
}

/** The text, or where the answer redirects to. */
async function answerOf(options: FetchOptions, url: string): Promise<Fetched | string> {
  const response = await send(options, url);
  const { statusCode = 0, headers } = response;
  if ([301, 302, 303, 307, 308].includes(statusCode) && headers.location !== undefined) {
    response.resume();
    return headers.location;
  }
  if (statusCode !== 200) {
    response.destroy();
    throw new ScrapeError('status', `server returned HTTP status ${statusCode}`);
  }
  const type = (headers['content-type'] ?? '').split(';')[0]!.trim().toLowerCase();
  if (type.includes('protobuf')) {
    response.destroy();
    throw new ScrapeError('malformed', `got the Content-Type ${type}, want text or OpenMetrics`);
  }
  const text = await inflate(headers['content-encoding'] ?? '', await read(response, options), options.bodyBytesMax);
  return { text, isOpenMetrics: type === 'application/openmetrics-text' };
}

function redirectOf(location: string, from: string, { followRedirects }: FetchOptions): string {
  if (!followRedirects) throw new ScrapeError('status', `got a redirect to ${location}, and none is followed`);
  const to = new URL(location, from);
  if (to.origin === new URL(from).origin) return to.href;
  throw new ScrapeError('status', `got a redirect to ${to.origin}, and only those to the same address are followed`);
}

function send(options: FetchOptions, url: string, isRetry = false): Promise<IncomingMessage> {
  const { headers, agent, signal } = options;
  const request = url.startsWith('https:') ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const sent = request(url, { headers, agent, signal }, resolve);
    sent.once('error', (error: NodeJS.ErrnoException) => {
      // The target closed an idle connection just when it was used again.
      const isLateClose = sent.reusedSocket && error.code === 'ECONNRESET';
      if (isLateClose && !isRetry) resolve(send(options, url, true));
      else reject(failureOf(error, signal));
    });
    sent.end();
  });
}

async function read(response: IncomingMessage, { bodyBytesMax, budget, signal }: FetchOptions): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      budget.used += chunk.length;
      if (bytes > bodyBytesMax) throw new ScrapeError('too_large', tooLarge(bodyBytesMax));
      if (budget.used > LIMITS.scrapeBytesInFlightMax) {
        throw new ScrapeError(
          'overloaded',
          `more than ${LIMITS.scrapeBytesInFlightMax} bytes of scrapes are under way`,
        );
      }
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  } catch (error) {
    response.destroy();
    throw error instanceof ScrapeError ? error : failureOf(error as Error, signal);
  } finally {
    budget.used -= bytes;
  }
}

async function inflate(encoding: string, body: Buffer, bytesMax: number): Promise<Uint8Array> {
  if (encoding === '' || encoding === 'identity') return body;
  if (encoding !== 'gzip' && encoding !== 'x-gzip') {
    throw new ScrapeError('malformed', `got the Content-Encoding ${JSON.stringify(encoding)}, want gzip or none`);
  }
  try {
    return await promisify<Buffer, { maxOutputLength: number }, Buffer>(gunzip)(body, { maxOutputLength: bytesMax });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') {
      throw new ScrapeError('too_large', tooLarge(bytesMax), { cause });
    }
    throw new ScrapeError('malformed', `cannot decompress the body: ${(cause as Error).message}`, { cause });
  }
}

function tooLarge(bytesMax: number): string {
  return `the body exceeds ${bytesMax} bytes`;
}

function failureOf(error: Error, signal: AbortSignal): ScrapeError {
  if (signal.reason instanceof ScrapeError) return signal.reason;
  return new ScrapeError('unreachable', error.message, { cause: error });
}
