/**
 * The door of ingest: request bodies in, an account of what was stored out. A body that cannot be decoded throws and
 * leaves no trace; of a body that can, good samples are kept and bad ones are refused by reason.
 */
import type { Clock } from '../model/clock.ts';
import { CodedError, type ErrorCode } from '../model/errors.ts';
import { LIMITS } from '../model/limits.ts';
import type { Cell, Family, Registry } from '../telemetry/registry.ts';
import type { Journal } from '../tsdb/storage.ts';
import { storeExportRequest } from './otlp/decode.ts';
import { OTLP_DEFAULTS, type OtlpSettings } from './otlp/settings.ts';
import { REASON_NAMES } from './reasons.ts';
import { type RemoteWriteHead, storeRemoteWrite } from './remote-write/store.ts';
import { profileOf, protocolNumber } from './replay.ts';
import { Tally } from './tally.ts';

export type Protocol = 'remote_write' | 'otlp';

export interface WriteOutcome {
  /** Samples that are in the store now; repeated ones with the same bits count. */
  readonly samplesStored: number;
  /** Samples refused; for OTLP, data points refused (each may stand for several samples). */
  readonly samplesRefused: number;
  /** '' or the reasons of what was refused, the most frequent first. */
  readonly message: string;
  /** To be waited for before the sender is told: what was stored is in the log then. Absent without a log. */
  readonly logged?: Promise<void>;
}

export interface WriterOptions {
  readonly head: RemoteWriteHead;
  readonly clock: Clock;
  readonly registry: Registry;
  readonly otlp?: Partial<OtlpSettings>;
  /** Where bodies go once they are stored; null keeps them in memory only. */
  readonly journal?: Journal | null;
  /** Throws `overloaded` if no body may be taken now. */
  readonly admit?: () => void;
  /** Told when the kernel traps: nobody knows what its memory holds then, so the process is to end. */
  readonly onTrap?: (error: Error) => void;
}

export class Writer {
  readonly #head: RemoteWriteHead;
  readonly #otlp: OtlpSettings;
  readonly #journal: Journal | null;
  readonly #admit: () => void;
  readonly #onTrap: (error: Error) => void;
  readonly #counters: Record<Protocol, ProtocolCounters>;

  constructor({ head, registry, otlp, journal, admit, onTrap }: WriterOptions) {
    this.#head = head;
    this.#otlp = { ...OTLP_DEFAULTS, ...otlp };
    this.#journal = journal ?? null;
    this.#admit = admit ?? (() => undefined);
    this.#onTrap = onTrap ?? (() => undefined);
    this.#counters = protocolCounters(registry);
  }

  /**
   * Stores a remote-write 1.0 body as sent: a snappy block. `connection` numbers the connection that it came over: what
   * series follows upon what is learnt for each. Throws `bad_body`, `body_too_large` or `overloaded`.
   */
  remoteWrite(body: Uint8Array, connection = 0): WriteOutcome {
    return this.#store('remote_write', body, (tally) => {
      storeRemoteWrite(body, connection, this.#head, tally);
    });
  }

  /** Stores an OTLP `ExportMetricsServiceRequest`, decompressed. Throws `bad_body` or `body_too_large`. */
  otlp(body: Uint8Array): WriteOutcome {
    return this.#store('otlp', body, (tally) => {
      if (body.length > LIMITS.otlpBodyBytesMax) {
        throw new CodedError(
          'body_too_large',
          `cannot take body: got ${body.length} bytes, want at most ${LIMITS.otlpBodyBytesMax}`,
        );
      }
      storeExportRequest(body, this.#head, this.#otlp, tally);
    });
  }

  /** Counts a request that was refused before its body came here. */
  countRefused(protocol: Protocol, code: ErrorCode): void {
    this.#counters[protocol].requests.with(protocol, code).value++;
  }

  #store(protocol: Protocol, body: Uint8Array, store: (tally: Tally) => void): WriteOutcome {
    const counters = this.#counters[protocol];
    const tally = new Tally();
    let logged: Promise<void> | null = null;
    counters.bytes.value += body.length;
    try {
      this.#admit();
      this.#journal?.admit(body.length);
      store(tally);
      logged = this.#note(protocol, body, tally);
    } catch (error) {
      if (error instanceof Error && error.name === 'RuntimeError') this.#onTrap(error);
      this.countRefused(protocol, error instanceof CodedError ? error.code : 'internal');
      throw error;
    } finally {
      // In the case of a fault, too: what is in the store by then stays there.
      counters.add(tally);
    }
    counters.requests.with(protocol, tally.refusedCount === 0 ? 'stored' : 'partial').value++;
    return {
      samplesStored: tally.samplesStored,
      samplesRefused: tally.refusedCount,
      message: tally.message(),
      ...(logged === null ? {} : { logged }),
    };
  }

  /** A body of which nothing was stored leaves nothing to bring back. */
  #note(protocol: Protocol, body: Uint8Array, tally: Tally): Promise<void> | null {
    if (this.#journal === null || tally.samplesStored === 0) return null;
    return this.#journal.note(
      protocolNumber(protocol),
      profileOf(protocol, this.#otlp),
      body,
      protocol === 'remote_write',
    );
  }
}

interface ProtocolCounters {
  readonly requests: Family<Cell>;
  readonly bytes: Cell;
  add(tally: Tally): void;
}

function protocolCounters(registry: Registry): Record<Protocol, ProtocolCounters> {
  const name = (what: string): string => `tidegauge_ingest_${what}_total`;
  const requests = registry.counter(
    name('requests'),
    'Write requests by outcome: stored, partial (some samples refused), or the code of the error.',
    'protocol',
    'outcome',
  );
  const bytes = registry.counter(
    name('body_bytes'),
    'Bytes of request bodies: remote-write as sent, OTLP decompressed.',
    'protocol',
  );
  const samples = registry.counter(name('samples'), 'Samples stored.', 'protocol');
  const refused = registry.counter(
    name('samples_refused'),
    'Samples refused by reason; for OTLP, data points.',
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
      exemplars: exemplars.with(protocol),
      metadata: metadata.with(protocol),
    };
    return {
      requests,
      bytes: bytes.with(protocol),
      add(tally) {
        cells.samples.value += tally.samplesStored;
        cells.exemplars.value += tally.exemplarsIgnored;
        cells.metadata.value += tally.metadataIgnored;
        for (const [reason, count] of tally.refusals()) refused.with(protocol, reason).value += count;
      },
    };
  };
  return { remote_write: of('remote_write'), otlp: of('otlp') };
}
