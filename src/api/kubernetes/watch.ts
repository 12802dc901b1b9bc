/**
 * Watches of external metrics, for `kubectl get -w`: the value is read every few seconds, and an event goes out when it is
 * another one. A client that names the version that it has seen is not told the same again.
 */
import { createHash } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { LIMITS } from '../../model/limits.ts';
import type { MetricList } from './external-metrics.ts';
import { externalObject, externalTable } from './lists.ts';
import { StatusError, statusBody, toStatusError } from './status.ts';

export interface WatchRequest {
  readonly metric: string;
  readonly namespace: string;
  readonly isTable: boolean;
  readonly resourceVersion: string;
  /** 0 for as long as usual. */
  readonly timeoutSeconds: number;
  readonly read: () => Promise<MetricList>;
}

const SECONDS_MAX = 1800;

/** A number that is equal for equal values. */
export function versionOf({ items }: MetricList): string {
  const digest = createHash('sha256').update(JSON.stringify(items)).digest();
  return String(digest.readUInt32BE(0));
}

export class Watches {
  readonly #open = new Set<Watch>();
  readonly #intervalMs: number;

  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
  }

  get count(): number {
    return this.#open.size;
  }

  /** Takes the response over. Throws a `StatusError` if there are too many, or the metric cannot be read at all. */
  async begin(request: WatchRequest, response: ServerResponse, take: () => void): Promise<void> {
    if (this.#open.size >= LIMITS.metricWatchesMax) {
      throw new StatusError(
        429,
        'TooManyRequests',
        `cannot watch: ${LIMITS.metricWatchesMax} watches are open already`,
      );
    }
    const first = await request.read();
    take();
    const watch = new Watch(request, response, this.#intervalMs, () => this.#open.delete(watch));
    this.#open.add(watch);
    watch.start(first);
  }

  closeAll(): void {
    for (const watch of [...this.#open]) watch.end();
  }
}

class Watch {
  readonly #request: WatchRequest;
  readonly #response: ServerResponse;
  readonly #onEnd: () => void;
  readonly #timer: NodeJS.Timeout;
  readonly #deadline: NodeJS.Timeout;
  #seen: string;
  #sent = 0;
  #isReading = false;

  constructor(request: WatchRequest, response: ServerResponse, intervalMs: number, onEnd: () => void) {
    this.#request = request;
    this.#response = response;
    this.#onEnd = onEnd;
    this.#seen = request.resourceVersion;
    const seconds = request.timeoutSeconds > 0 ? Math.min(request.timeoutSeconds, SECONDS_MAX) : SECONDS_MAX;
    this.#timer = setInterval(() => void this.#look(), intervalMs);
    this.#deadline = setTimeout(() => this.end(), seconds * 1000);
  }

  start(first: MetricList): void {
    const headers = { 'Content-Type': 'application/json;stream=watch', 'Cache-Control': 'no-cache, private' };
    this.#response.writeHead(200, headers);
    this.#response.flushHeaders();
    this.#response.once('close', () => this.end());
    this.#tell(first);
  }

  end(): void {
    clearInterval(this.#timer);
    clearTimeout(this.#deadline);
    this.#onEnd();
    if (!this.#response.writableEnded) this.#response.end();
  }

  async #look(): Promise<void> {
    if (this.#isReading) return;
    this.#isReading = true;
    try {
      this.#tell(await this.#request.read());
    } catch (error) {
      // What is silent for now may speak again; what is gone is over.
      const status = toStatusError(error);
      if (status.httpStatus !== 503 && status.httpStatus !== 504) this.#fail(status);
    } finally {
      this.#isReading = false;
    }
  }

  #tell(list: MetricList): void {
    const version = versionOf(list);
    if (version === this.#seen || this.#response.writableEnded) return;
    this.#seen = version;
    const { metric, namespace, isTable } = this.#request;
    const type = this.#sent === 0 && this.#request.resourceVersion === '' ? 'ADDED' : 'MODIFIED';
    const objects = isTable
      ? [externalTable(metric, namespace, list, this.#sent === 0)]
      : list.items.map((item) => externalObject(metric, item, list.timeMs));
    this.#sent++;
    for (const object of objects) this.#response.write(`${JSON.stringify({ type, object })}\n`);
  }

  #fail(status: StatusError): void {
    this.#response.write(`${JSON.stringify({ type: 'ERROR', object: statusBody(status) })}\n`);
    this.end();
  }
}
