/**
 * Bodies of the log into the head, as they were stored when they came: the same decoders, under the settings that held then.
 * Nothing is counted, and what a body was refused for is known (the head was given the verdict). Exemplars and metadata
 * are not brought back.
 */
import type { Clock } from '../model/clock.ts';
import { CodedError } from '../model/errors.ts';
import { LIMITS } from '../model/limits.ts';
import { Registry } from '../telemetry/registry.ts';
import { Exemplars } from '../tsdb/exemplars.ts';
import type { ImageSection } from '../tsdb/image.ts';
import { Metadata } from '../tsdb/metadata.ts';
import { OtlpDecoder, type OtlpHead } from './otlp/decode.ts';
import { DeltaSums } from './otlp/delta.ts';
import { type OtlpSettings, settingsOf } from './otlp/settings.ts';
import { type RemoteWriteHead, type RemoteWriteTarget, storeRemoteWrite, storeRequest } from './remote-write/store.ts';
import { Tally } from './tally.ts';

export interface LoggedAs {
  /** Number of the protocol in the log; it stays what it is. */
  readonly number: number;
  /** Whether bodies are compressed as they come. */
  readonly isCompressed: boolean;
}

export const LOGGED_AS = {
  remoteWrite: { number: 1, isCompressed: true },
  /** One that text became: a snappy block of one literal. */
  textBlock: { number: 1, isCompressed: false },
  otlp: { number: 2, isCompressed: false },
  remoteWrite2: { number: 3, isCompressed: true },
} as const satisfies Record<string, LoggedAs>;

/** All settings that change what an OTLP body means, as text: the same bodies under another profile would be other series. */
export function profileOf(otlp: OtlpSettings): string {
  return JSON.stringify(otlp);
}

export interface LoggedBody {
  readonly protocol: number;
  /** What `profileOf` said; null if that is lost. */
  readonly profile: string | null;
  readonly body: Uint8Array;
  readonly arrivalMs: number;
  /** The namespace that the identity of its sender put on its series; '' for none. */
  readonly stamp: string;
}

/** What became of a body of the log. `unread`: it could not be read as it was, for want of its settings or its protocol. */
export type Replayed = 'stored' | 'partial' | 'unread';

type ReplayHead = RemoteWriteHead & OtlpHead;

/** Replays bodies; what follows from them beside the head is kept for each head that a recovery tries. */
export class Replayer {
  readonly #clock: Clock;
  readonly #deltas = new WeakMap<object, DeltaSums>();
  /** Of the last OTLP body: decoders remember much, and settings hardly ever change. */
  #decoder: { readonly head: object; readonly profile: string; readonly otlp: OtlpDecoder } | null = null;

  /** When the body that is replayed came: what was forgotten then for want of use is forgotten now. */
  #arrivalMs: number | null = null;

  constructor(clock: Clock) {
    this.#clock = {
      nowMs: () => clock.nowMs(),
      monotonicMs: () => clock.monotonicMs() - (this.#arrivalMs === null ? 0 : clock.nowMs() - this.#arrivalMs),
    };
  }

  /** The sums of deltas of a head: a writer is to go on with them. */
  deltasOf(head: object): DeltaSums {
    let deltas = this.#deltas.get(head);
    if (deltas === undefined) {
      deltas = new DeltaSums(this.#clock);
      this.#deltas.set(head, deltas);
    }
    return deltas;
  }

  /** What an image holds beside the head. */
  readonly sections = (head: object): readonly ImageSection[] => {
    const deltas = this.deltasOf(head);
    return [{ name: 'otlp-deltas', save: () => deltas.save(), load: (bytes) => deltas.load(bytes) }];
  };

  readonly replay = (head: ReplayHead, { protocol, profile, body, arrivalMs, stamp }: LoggedBody): Replayed => {
    const tally = new Tally();
    this.#arrivalMs = arrivalMs;
    try {
      if (protocol === LOGGED_AS.remoteWrite.number) storeRemoteWrite(body, 0, targetOf(head, tally, stamp));
      else if (protocol === LOGGED_AS.remoteWrite2.number) storeRequest(body, 0, targetOf(head, tally, stamp));
      else if (protocol === LOGGED_AS.otlp.number && profile !== null) {
        const decoder = this.#decoderOf(head, profile);
        if (decoder === null) return 'unread';
        decoder.store(body, tally, stamp);
      } else return 'unread';
    } catch (error) {
      // Memory is full, or a limit is lower than it was: the rest of the log may fit all the same.
      if (!(error instanceof CodedError)) throw error;
      return 'partial';
    } finally {
      this.#arrivalMs = null;
    }
    return 'stored';
  };

  /** Null if the settings are those of another version. */
  #decoderOf(head: ReplayHead, profile: string): OtlpDecoder | null {
    if (this.#decoder?.head === head && this.#decoder.profile === profile) return this.#decoder.otlp;
    const settings = settingsOf(profile);
    if (settings === null) return null;
    const deltas = this.deltasOf(head);
    const otlp = new OtlpDecoder({
      head,
      clock: this.#clock,
      registry: new Registry(),
      settings,
      deltas,
      exemplars: noExemplars(),
      metadata: new Metadata(),
    });
    this.#decoder = { head, profile, otlp };
    return otlp;
  }
}

function targetOf(head: RemoteWriteHead, tally: Tally, stamp: string): RemoteWriteTarget {
  return { head, stamp, metadata: new Metadata(), sink: { head, exemplars: noExemplars(), latestMs: Infinity, tally } };
}

function noExemplars(): Exemplars {
  return new Exemplars({
    countMax: 0,
    bytesMax: 0,
    labelCharactersMax: LIMITS.exemplarLabelCharactersMax,
    outOfOrderMsMax: LIMITS.outOfOrderMsMax,
  });
}
