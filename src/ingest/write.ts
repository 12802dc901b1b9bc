/**
 * The door of ingest: request bodies in, an account of what was stored out. A body that cannot be decoded throws and
 * leaves no trace; of a body that can, good samples are kept and bad ones are refused by reason.
 */
import type { Clock } from '../model/clock.ts';
import { CodedError, ERRORS, type ErrorCode } from '../model/errors.ts';
import { LIMITS } from '../model/limits.ts';
import type { Cell, Family, Registry } from '../telemetry/registry.ts';
import { Exemplars } from '../tsdb/exemplars.ts';
import type { SeriesList } from '../tsdb/kernel-head.ts';
import { Metadata } from '../tsdb/metadata.ts';
import type { Journal } from '../tsdb/storage.ts';
import { OtlpDecoder, type OtlpHead } from './otlp/decode.ts';
import type { DeltaSums } from './otlp/delta.ts';
import { exportRequestFromJson } from './otlp/json.ts';
import type { Originals } from './otlp/originals.ts';
import { OTLP_DEFAULTS, type OtlpSettings } from './otlp/settings.ts';
import { REASON_NAMES } from './reasons.ts';
import { type Reject, RejectExamples } from './rejects.ts';
import { type RemoteWriteHead, type RemoteWriteTarget, storeRemoteWrite, storeRequest } from './remote-write/store.ts';
import { LOGGED_AS, type LoggedAs, profileOf } from './replay.ts';
import { type Sender, Senders } from './senders.ts';
import { NO_EXAMPLE, Tally } from './tally.ts';
import { bodyBytesOf } from './text/block.ts';
import { storeText } from './text/store.ts';
import type { TextFormat } from './text/transcode.ts';

export type Protocol = 'remote_write' | 'otlp' | 'text' | 'scrape';

export interface WriteOutcome {
  /** Samples that are in the store now, histograms among them; repeated ones with the same bits count. */
  readonly samplesStored: number;
  /** Samples refused; for OTLP, data points refused (each may stand for several samples). */
  readonly samplesRefused: number;
  /** '' or the reasons of what was refused, the most frequent first. */
  readonly message: string;
  /** To be waited for before the sender is told: what was stored is in the log then. Absent without a log. */
  readonly logged?: Promise<void>;
}

/** What a scrape has to know of what it wrote. */
export interface ScrapedOutcome extends WriteOutcome {
  /** Series with a sample of the scrape's own time, in the order of the body. */
  readonly series: SeriesList;
}

/** What a remote-write 2.0 sender is told besides. */
export interface RequestOutcome extends WriteOutcome {
  /** Native histograms among the samples. */
  readonly histogramsStored: number;
  readonly exemplarsStored: number;
}

export interface WriterOptions {
  readonly head: RemoteWriteHead & OtlpHead;
  readonly clock: Clock;
  readonly registry: Registry;
  readonly otlp?: Partial<OtlpSettings>;
  /** Where exemplars and metadata go; places of the writer's own if absent. */
  readonly exemplars?: Exemplars;
  readonly metadata?: Metadata;
  /** Eight random numbers that no sender knows: the keys of the hash of OTLP identities. */
  readonly hashKeys?: Uint32Array;
  /** Sums of deltas to go on with; empty ones if absent. */
  readonly deltas?: DeltaSums;
  /** Where bodies go once they are stored; null keeps them in memory only. */
  readonly journal?: Journal | null;
  /** Throws `overloaded` if no body may be taken now. */
  readonly admit?: () => void;
  /** Told when the kernel traps: nobody knows what its memory holds then, so the process is to end. */
  readonly onTrap?: (error: Error) => void;
  /** Called when a body was stored, whole or in part. */
  readonly onStored?: () => void;
}

/** A request that was only partly stored because there was no room: the sender is to repeat all of it later. */
export class PartlyStored extends CodedError {
  readonly outcome: RequestOutcome;

  constructor(cause: CodedError, outcome: RequestOutcome) {
    super(cause.code, cause.message, { cause });
    this.name = 'PartlyStored';
    this.outcome = outcome;
  }
}

export class Writer {
  readonly #head: RemoteWriteHead & OtlpHead;
  readonly #clock: Clock;
  readonly #exemplars: Exemplars;
  readonly #metadata: Metadata;
  readonly #otlp: OtlpDecoder;
  readonly #otlpProfile: string;
  readonly #journal: Journal | null;
  readonly #admit: () => void;
  readonly #onTrap: (error: Error) => void;
  readonly #counters: Record<Protocol, ProtocolCounters>;
  readonly #rejectExamples: RejectExamples;
  /** Who sends; whoever calls the writer may say on whose account. */
  readonly senders: Senders;
  readonly #onStored: () => void;

  constructor(options: WriterOptions) {
    const { head, clock, registry, otlp, hashKeys, deltas } = options;
    this.#head = head;
    this.#clock = clock;
    this.#onStored = options.onStored ?? (() => undefined);
    this.#exemplars = options.exemplars ?? defaultExemplars(LIMITS.exemplarsMax);
    this.#metadata = options.metadata ?? new Metadata();
    this.#journal = options.journal ?? null;
    this.#admit = options.admit ?? (() => undefined);
    this.#onTrap = options.onTrap ?? (() => undefined);
    const settings: OtlpSettings = { ...OTLP_DEFAULTS, ...otlp };
    this.#otlpProfile = profileOf(settings);
    this.#otlp = new OtlpDecoder({
      head,
      clock,
      registry,
      settings,
      exemplars: this.#exemplars,
      metadata: this.#metadata,
      ...(hashKeys && { hashKeys }),
      ...(deltas && { deltas }),
    });
    this.#rejectExamples = new RejectExamples(clock);
    this.#counters = protocolCounters(registry, this.#rejectExamples);
    this.senders = new Senders(clock, registry);
  }

  /**
   * Stores a remote-write 1.0 body as sent: a snappy block. `connection` numbers the connection that it came over: what
   * series follows upon what is learnt for each. `stamp` is the namespace that the sender's identity puts on its series, ''
   * for none (stamp.ts). Throws `bad_body`, `body_too_large` or `overloaded`.
   */
  remoteWrite(body: Uint8Array, connection = 0, stamp = '', sender: Sender | null = null): WriteOutcome {
    const stored = this.#store('remote_write', body, sender, (tally) => {
      storeRemoteWrite(body, connection, this.#remoteWriteTarget(tally, stamp));
      return this.#note(LOGGED_AS.remoteWrite, body, tally.samplesStored, stamp);
    });
    return outcomeOf(stored);
  }

  /** As `remoteWrite`, of a remote-write 2.0 body. */
  remoteWrite2(body: Uint8Array, connection = 0, stamp = '', sender: Sender | null = null): RequestOutcome {
    const stored = this.#store('remote_write', body, sender, (tally) => {
      storeRequest(body, connection, this.#remoteWriteTarget(tally, stamp));
      return this.#note(LOGGED_AS.remoteWrite2, body, tally.samplesStored, stamp);
    });
    return requestOutcomeOf(stored);
  }

  /** Stores an OTLP `ExportMetricsServiceRequest`, decompressed. Throws `bad_body` or `body_too_large`. */
  otlp(body: Uint8Array, stamp = '', sender: Sender | null = null): WriteOutcome {
    const stored = this.#store('otlp', body, sender, (tally) => {
      checkSize(body, LIMITS.otlpBodyBytesMax);
      return this.#storeOtlp(body, stamp, tally);
    });
    return outcomeOf(stored);
  }

  /**
   * Stores Prometheus' text format or OpenMetrics, decompressed; samples without a time get the clock's. Throws `bad_body`
   * or `overloaded`.
   */
  text(
    body: Uint8Array,
    format: Omit<TextFormat, 'timestampMs'> & { timestampMs?: number },
    connection = 0,
    stamp = '',
    sender: Sender | null = null,
  ): WriteOutcome {
    const { timestampMs = this.#clock.nowMs() } = format;
    const stored = this.#store('text', body, sender, (tally) => {
      const logged: Promise<void>[] = [];
      let before = 0;
      // Noted as the remote-write bodies that it becomes: those need neither format nor clock to be read again.
      storeText(body, { ...format, timestampMs }, connection, this.#remoteWriteTarget(tally, stamp), (block) => {
        const noted = this.#note(LOGGED_AS.textBlock, block, tally.samplesStored - before, stamp);
        before = tally.samplesStored;
        if (noted === null) return;
        // Nobody waits for it if a later block fails.
        noted.catch(() => undefined);
        logged.push(noted);
      });
      return logged.length === 0 ? null : Promise.all(logged).then(() => undefined);
    });
    return outcomeOf(stored);
  }

  /**
   * Stores a block (text/block.ts) that a scrape at `timestampMs` made. `connection` numbers its target, which repeats the
   * order of its series. Throws `overloaded`; then a part may be in the store.
   */
  scraped(block: Uint8Array, timestampMs: number, connection: number): ScrapedOutcome {
    let series: SeriesList | null = null;
    const stored = this.#store('scrape', block, null, (tally) => {
      // Targets of a scrape are the operator's own: nobody stamps them.
      storeRemoteWrite(block, connection, this.#remoteWriteTarget(tally, ''));
      series = this.#head.seriesOfBody(bodyBytesOf(block), timestampMs);
      return this.#note(LOGGED_AS.textBlock, block, tally.samplesStored, '');
    });
    return { ...outcomeOf(stored), series: series! };
  }

  /** Stores one that came as JSON, decompressed. Throws `bad_body` or `body_too_large`. */
  otlpJson(body: Uint8Array, stamp = '', sender: Sender | null = null): WriteOutcome {
    const stored = this.#store('otlp', body, sender, (tally) => {
      checkSize(body, LIMITS.otlpJsonBodyBytesMax);
      return this.#storeOtlp(exportRequestFromJson(body), stamp, tally);
    });
    return outcomeOf(stored);
  }

  /** Bytes of what OTLP senders repeat, known by its bytes. */
  get otlpIdentityBytes(): number {
    return this.#otlp.identityBytes;
  }

  /** What the names of OTLP metrics and attributes were before they were translated. */
  get otlpOriginals(): Originals {
    return this.#otlp.originals;
  }

  /** Counts a request that was refused before its body came here; `message` is what its sender is told. */
  countRefused(protocol: Protocol, code: ErrorCode, message: string, sender: Sender | null = null): void {
    sender?.begin();
    this.#countRefused(protocol, code, message, sender);
  }

  #countRefused(protocol: Protocol, code: ErrorCode, message: string, sender: Sender | null): void {
    sender?.refuse(code);
    this.#counters[protocol].requests.with(protocol, code).value++;
    this.#rejectExamples.note(protocol, 'requests', code, message === '' ? code : message);
  }

  /** What was refused since the start, by protocol and reason, with an example each. */
  rejects(): readonly Reject[] {
    return (Object.keys(this.#counters) as Protocol[]).flatMap((protocol) => {
      const { requests, refused } = this.#counters[protocol];
      const reject = (what: Reject['what'], reason: string, { value: count }: Cell): Reject => {
        return { protocol, what, reason, count, ...this.#rejectExamples.of(protocol, what, reason) };
      };
      // Every refused request left its example; a cell of a code that never came is not made by looking for it.
      const codes = ERROR_CODES.filter((code) => this.#rejectExamples.of(protocol, 'requests', code).timeMs !== null);
      return [
        ...REASON_NAMES.map((reason) => reject('samples', reason, refused.with(protocol, reason))),
        ...codes.map((code) => reject('requests', code, requests.with(protocol, code))),
      ].filter(({ count }) => count > 0);
    });
  }

  #remoteWriteTarget(tally: Tally, stamp: string): RemoteWriteTarget {
    const latestMs = this.#clock.nowMs() + LIMITS.futureMsMax;
    const sink = { head: this.#head, exemplars: this.#exemplars, latestMs, tally };
    return { head: this.#head, stamp, metadata: this.#metadata, sink };
  }

  #storeOtlp(body: Uint8Array, stamp: string, tally: Tally): Promise<void> | null {
    this.#otlp.store(body, tally, stamp);
    return this.#note(LOGGED_AS.otlp, body, tally.samplesStored, stamp, this.#otlpProfile);
  }

  /** A body of which nothing was stored leaves nothing to bring back. */
  #note(
    { number, isCompressed }: LoggedAs,
    body: Uint8Array,
    stored: number,
    stamp: string,
    profile = '',
  ): Promise<void> | null {
    if (this.#journal === null || stored === 0) return null;
    return this.#journal.note(number, profile, body, isCompressed, stamp);
  }

  /** `store` says what is to be waited for. */
  #store(
    protocol: Protocol,
    body: Uint8Array,
    sender: Sender | null,
    store: (tally: Tally) => Promise<void> | null,
  ): Stored {
    const counters = this.#counters[protocol];
    const tally = new Tally();
    let logged: Promise<void> | null = null;
    counters.bytes.value += body.length;
    sender?.begin();
    try {
      this.#admit();
      this.#journal?.admit(body.length);
      logged = store(tally);
    } catch (error) {
      if (error instanceof Error && error.name === 'RuntimeError') this.#onTrap(error);
      const isCoded = error instanceof CodedError;
      this.#countRefused(
        protocol,
        isCoded ? error.code : 'internal',
        isCoded ? error.message : 'internal error',
        sender,
      );
      if (error instanceof CodedError && error.code === 'overloaded') {
        throw new PartlyStored(error, requestOutcomeOf({ tally, logged: null }));
      }
      throw error;
    } finally {
      // In the case of a fault, too: what is in the store by then stays there.
      counters.add(tally);
      sender?.add(tally);
      this.#onStored();
    }
    counters.requests.with(protocol, tally.refusedCount === 0 ? 'stored' : 'partial').value++;
    return { tally, logged };
  }
}

interface Stored {
  readonly tally: Tally;
  readonly logged: Promise<void> | null;
}

/** A ring of so many exemplars, within the limits of everything else. */
export function defaultExemplars(countMax: number): Exemplars {
  return new Exemplars({
    countMax,
    bytesMax: LIMITS.exemplarBytesMax,
    labelCharactersMax: LIMITS.exemplarLabelCharactersMax,
    outOfOrderMsMax: LIMITS.outOfOrderMsMax,
  });
}

function outcomeOf({ tally, logged }: Stored): WriteOutcome {
  const { samplesStored, refusedCount: samplesRefused } = tally;
  const outcome = { samplesStored, samplesRefused, message: tally.message() };
  return logged === null ? outcome : { ...outcome, logged };
}

function requestOutcomeOf(stored: Stored): RequestOutcome {
  const { histogramsStored, exemplarsStored } = stored.tally;
  return { ...outcomeOf(stored), histogramsStored, exemplarsStored };
}

function checkSize(body: Uint8Array, bytesMax: number): void {
  if (body.length <= bytesMax) return;
  throw new CodedError('body_too_large', `cannot take body: got ${body.length} bytes, want at most ${bytesMax}`);
}

const ERROR_CODES = Object.keys(ERRORS) as readonly ErrorCode[];

interface ProtocolCounters {
  readonly requests: Family<Cell>;
  readonly refused: Family<Cell>;
  readonly bytes: Cell;
  add(tally: Tally): void;
}

function protocolCounters(registry: Registry, examples: RejectExamples): Record<Protocol, ProtocolCounters> {
  const name = (what: string): string => `tidegauge_ingest_${what}_total`;
  const requests = registry.counter(
    name('requests'),
    'Write requests by outcome: stored, partial (some samples refused), or the code of the error.',
    'protocol',
    'outcome',
  );
  const bytes = registry.counter(
    name('body_bytes'),
    'Bytes of bodies: remote-write as sent, OTLP and text decompressed, scrapes as remote-write.',
    'protocol',
  );
  const samples = registry.counter(name('samples'), 'Samples stored, native histograms among them.', 'protocol');
  const histograms = registry.counter(name('histograms'), 'Native histograms stored.', 'protocol');
  const exemplarsStored = registry.counter(name('exemplars'), 'Exemplars kept.', 'protocol');
  const refused = registry.counter(
    name('samples_refused'),
    'Samples (and exemplars of remote-write 2.0) refused by reason; for OTLP, data points.',
    'protocol',
    'reason',
  );
  const exemplars = registry.counter(name('exemplars_ignored'), 'Exemplars received and not kept.', 'protocol');
  const metadata = registry.counter(
    name('metadata_ignored'),
    'Metric metadata entries received and not kept.',
    'protocol',
  );
  const of = (protocol: Protocol): ProtocolCounters => {
    // Every cell exists from the start: rate() would miss the first step of one that appears with its first count.
    for (const reason of REASON_NAMES) refused.with(protocol, reason);
    for (const outcome of ['stored', 'partial', 'bad_body']) requests.with(protocol, outcome);
    const cells = {
      samples: samples.with(protocol),
      histograms: histograms.with(protocol),
      exemplarsStored: exemplarsStored.with(protocol),
      exemplars: exemplars.with(protocol),
      metadata: metadata.with(protocol),
    };
    return {
      requests,
      refused,
      bytes: bytes.with(protocol),
      add(tally) {
        cells.samples.value += tally.samplesStored;
        cells.histograms.value += tally.histogramsStored;
        cells.exemplarsStored.value += tally.exemplarsStored;
        cells.exemplars.value += tally.exemplarsIgnored;
        cells.metadata.value += tally.metadataIgnored;
        if (tally.refusedCount === 0) return;
        for (const [reason, count, example] of tally.refusals()) {
          refused.with(protocol, reason).value += count;
          // Only the first few that the kernel refuses are known by series.
          if (example !== NO_EXAMPLE) examples.note(protocol, 'samples', reason, example);
        }
      },
    };
  };
  return { remote_write: of('remote_write'), otlp: of('otlp'), text: of('text'), scrape: of('scrape') };
}
