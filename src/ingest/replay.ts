/**
 * Bodies of the log into the head, as they were stored when they came: the same decoders, under the settings that held then.
 * Nothing is counted, and what a body was refused for is known (the head was given the verdict).
 */
import { CodedError } from '../model/errors.ts';
import { storeExportRequest } from './otlp/decode.ts';
import { OTLP_DEFAULTS, type OtlpSettings } from './otlp/settings.ts';
import { type RemoteWriteHead, storeRemoteWrite } from './remote-write/store.ts';
import { Tally } from './tally.ts';
import type { Protocol } from './write.ts';

/** Numbers of protocols in the log; they stay what they are. */
const PROTOCOL_NUMBERS: Readonly<Record<Protocol, number>> = { remote_write: 1, otlp: 2 };

export function protocolNumber(protocol: Protocol): number {
  return PROTOCOL_NUMBERS[protocol];
}

/** All settings that change what a body means, as text: the same bodies under another profile would be other series. */
export function profileOf(protocol: Protocol, otlp: OtlpSettings): string {
  return protocol === 'otlp' ? JSON.stringify(otlp) : '';
}

export interface LoggedBody {
  readonly protocol: number;
  /** What `profileOf` said; null if that is lost. */
  readonly profile: string | null;
  readonly body: Uint8Array;
}

/** What became of a body of the log. `unread`: it could not be read as it was, for want of its settings or its protocol. */
export type Replayed = 'stored' | 'partial' | 'unread';

export function replayBody(head: RemoteWriteHead, { protocol, profile, body }: LoggedBody): Replayed {
  const tally = new Tally();
  try {
    if (protocol === PROTOCOL_NUMBERS.remote_write) storeRemoteWrite(body, 0, head, tally);
    else if (protocol === PROTOCOL_NUMBERS.otlp && profile !== null) {
      storeExportRequest(body, head, { ...OTLP_DEFAULTS, ...(JSON.parse(profile) as Partial<OtlpSettings>) }, tally);
    } else return 'unread';
  } catch (error) {
    // Memory is full, or a limit is lower than it was: the rest of the log may fit all the same.
    if (!(error instanceof CodedError)) throw error;
    return 'partial';
  }
  return 'stored';
}
