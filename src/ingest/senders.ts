/**
 * Who sends, as far as it shows: the address, the name of a token or certificate, what it calls itself, and what came of
 * what it sent. Bounded: of those that are not known any more only the sums stay.
 */
import type { Clock } from '../model/clock.ts';
import type { ErrorCode } from '../model/errors.ts';
import { LIMITS } from '../model/limits.ts';
import type { Registry } from '../telemetry/registry.ts';
import type { Reject } from './rejects.ts';
import type { Tally } from './tally.ts';
import type { Protocol } from './write.ts';

/** Where a request came from. */
export interface Origin {
  /** The peer's address, without its port. */
  readonly peer: string;
  /** Name and namespace of its token or certificate, '' without. */
  readonly name: string;
  readonly namespace: string;
  /** Its User-Agent: anybody may write anything there. */
  readonly userAgent: string;
}

export interface SenderReport extends Origin {
  readonly protocol: Protocol;
  readonly requests: number;
  readonly samplesStored: number;
  readonly requestsPerSecond: number;
  readonly samplesPerSecond: number;
  readonly refused: readonly Pick<Reject, 'what' | 'reason' | 'count'>[];
  readonly firstMs: number;
  readonly lastMs: number;
}

/** What came from all senders that had to make room. */
export interface Forgotten {
  readonly senders: number;
  readonly requests: number;
  readonly samplesStored: number;
}

const RATE_WINDOW_MS = 60_000;

/** A rate over the last minute: of the minute before, as much counts as is missing of this one. */
class Rate {
  #beganMs: number;
  #windowMs: number;
  #before = 0;
  #now = 0;

  constructor(nowMs: number) {
    this.#beganMs = nowMs;
    this.#windowMs = nowMs;
  }

  add(count: number, nowMs: number): void {
    this.#turn(nowMs);
    this.#now += count;
  }

  perSecond(nowMs: number): number {
    this.#turn(nowMs);
    const share = 1 - (nowMs - this.#windowMs) / RATE_WINDOW_MS;
    const spanMs = Math.min(Math.max(nowMs - this.#beganMs, 1000), RATE_WINDOW_MS);
    return ((this.#before * share + this.#now) * 1000) / spanMs;
  }

  #turn(nowMs: number): void {
    const turns = Math.floor((nowMs - this.#windowMs) / RATE_WINDOW_MS);
    if (turns === 0) return;
    this.#before = turns === 1 ? this.#now : 0;
    this.#now = 0;
    // A clock that was put back begins anew.
    this.#windowMs = turns < 0 ? nowMs : this.#windowMs + turns * RATE_WINDOW_MS;
    this.#beganMs = Math.min(this.#beganMs, nowMs);
  }
}

/** The account of one sender. */
export class Sender {
  readonly origin: Origin;
  readonly protocol: Protocol;
  readonly firstMs: number;
  lastMs: number;
  requests = 0;
  samplesStored = 0;
  readonly #clock: Clock;
  readonly #requestRate: Rate;
  readonly #sampleRate: Rate;
  /** By reason of samples and by code of requests: closed sets. */
  readonly #refused = { samples: new Map<string, number>(), requests: new Map<string, number>() };

  constructor(protocol: Protocol, origin: Origin, clock: Clock) {
    this.protocol = protocol;
    this.origin = origin;
    this.#clock = clock;
    this.firstMs = clock.nowMs();
    this.lastMs = this.firstMs;
    this.#requestRate = new Rate(this.firstMs);
    this.#sampleRate = new Rate(this.firstMs);
  }

  /** Counts a request, whether or not it is refused. */
  begin(): void {
    this.lastMs = this.#clock.nowMs();
    this.requests++;
    this.#requestRate.add(1, this.lastMs);
  }

  add(tally: Tally): void {
    this.samplesStored += tally.samplesStored;
    this.#sampleRate.add(tally.samplesStored, this.lastMs);
    if (tally.refusedCount === 0) return;
    for (const [reason, count] of tally.refusals()) addTo(this.#refused.samples, reason, count);
  }

  refuse(code: ErrorCode): void {
    addTo(this.#refused.requests, code, 1);
  }

  report(): SenderReport {
    const nowMs = this.#clock.nowMs();
    const { origin, protocol, requests, samplesStored, firstMs, lastMs } = this;
    const listOf = (what: Reject['what']) =>
      [...this.#refused[what]].map(([reason, count]) => ({ what, reason, count }));
    return {
      ...origin,
      protocol,
      requests,
      samplesStored,
      requestsPerSecond: this.#requestRate.perSecond(nowMs),
      samplesPerSecond: this.#sampleRate.perSecond(nowMs),
      refused: [...listOf('samples'), ...listOf('requests')],
      firstMs,
      lastMs,
    };
  }
}

export class Senders {
  readonly #clock: Clock;
  /** The one that sent last stands last. */
  readonly #known = new Map<string, Sender>();
  #forgotten: Forgotten = { senders: 0, requests: 0, samplesStored: 0 };

  constructor(clock: Clock, registry: Registry) {
    this.#clock = clock;
    registry.computed(
      'gauge',
      'tidegauge_ingest_senders',
      'Senders that are known one by one.',
      () => this.#known.size,
    );
    registry.computed(
      'counter',
      'tidegauge_ingest_senders_forgotten_total',
      'Senders that made room for others.',
      () => this.#forgotten.senders,
    );
  }

  /** The account of a sender; made, if need be, in place of the one that has been silent for longest. */
  of(protocol: Protocol, origin: Origin): Sender {
    const userAgent = cut(origin.userAgent);
    // What anybody may write stands last, so that it cannot pass for something else.
    const key = `${protocol}\n${origin.peer}\n${origin.name}\n${origin.namespace}\n${userAgent}`;
    const known = this.#known.get(key);
    if (known !== undefined) {
      this.#known.delete(key);
      this.#known.set(key, known);
      return known;
    }
    if (this.#known.size >= LIMITS.sendersMax) this.#forgetOne();
    const sender = new Sender(protocol, { ...origin, userAgent }, this.#clock);
    this.#known.set(key, sender);
    return sender;
  }

  /** The busiest first. */
  list(): readonly SenderReport[] {
    return [...this.#known.values()]
      .map((sender) => sender.report())
      .sort((a, b) => b.samplesPerSecond - a.samplesPerSecond || b.lastMs - a.lastMs);
  }

  get forgotten(): Forgotten {
    return this.#forgotten;
  }

  #forgetOne(): void {
    const [key, oldest] = this.#known.entries().next().value!;
    this.#known.delete(key);
    const { senders, requests, samplesStored } = this.#forgotten;
    this.#forgotten = {
      senders: senders + 1,
      requests: requests + oldest.requests,
      samplesStored: samplesStored + oldest.samplesStored,
    };
  }
}

/** A short text is the header's own; of a long one a copy is kept, not the whole head that it is a part of. */
function cut(text: string): string {
  const { senderTextLengthMax } = LIMITS;
  return text.length <= senderTextLengthMax ? text : Buffer.from(`${text.slice(0, senderTextLengthMax)}…`).toString();
}

function addTo(counts: Map<string, number>, key: string, count: number): void {
  counts.set(key, (counts.get(key) ?? 0) + count);
}
