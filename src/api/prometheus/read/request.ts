/** Decodes a ReadRequest of Prometheus' remote-read protocol (prompb/remote.proto). Throws `bad_body`. */
import protobuf from 'protobufjs/minimal.js';
import { CodedError } from '../../../model/errors.ts';
import { LIMITS } from '../../../model/limits.ts';
import { compileMatcher, type Matcher, type MatchType } from '../../../model/matcher.ts';
import { uncompressSnappy } from './snappy.ts';

export interface ReadQuery {
  /** Both inclusive. */
  readonly startMs: number;
  readonly endMs: number;
  readonly matchers: readonly Matcher[];
}

export interface ReadRequest {
  readonly queries: readonly ReadQuery[];
  /** Response types that the client takes, in its order; unknown ones included. */
  readonly accepted: readonly number[];
}

export const RESPONSE = { samples: 0, chunks: 1 } as const;

const MATCH_TYPES: readonly MatchType[] = ['=', '!=', '=~', '!~'];

export function decodeReadRequest(body: Uint8Array): ReadRequest {
  const bytes = uncompressSnappy(body, LIMITS.remoteReadBodyBytesMax);
  try {
    return readRequest(protobuf.Reader.create(bytes));
  } catch (error) {
    if (error instanceof CodedError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new CodedError('bad_body', `cannot decode ReadRequest: ${reason}`, { cause: error });
  }
}

function readRequest(reader: protobuf.Reader): ReadRequest {
  const queries: ReadQuery[] = [];
  const accepted: number[] = [];
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag === 10) queries.push(readQuery(reader, reader.uint32() + reader.pos));
    else if (tag === 16) accepted.push(reader.int32());
    else if (tag === 18) {
      for (const end = reader.uint32() + reader.pos; reader.pos < end; ) accepted.push(reader.int32());
    } else reader.skipType(tag & 7);
  }
  if (queries.length > LIMITS.remoteReadQueriesMax) {
    throw new CodedError(
      'bad_data',
      `cannot read: got ${queries.length} queries, want at most ${LIMITS.remoteReadQueriesMax}`,
    );
  }
  return { queries, accepted };
}

/** Hints (4) say what the reader will do with the samples; the answer may leave them aside. */
function readQuery(reader: protobuf.Reader, end: number): ReadQuery {
  let startMs = 0;
  let endMs = 0;
  const matchers: Matcher[] = [];
  while (reader.pos < end) {
    const tag = reader.uint32();
    if (tag === 8) startMs = Number(String(reader.int64()));
    else if (tag === 16) endMs = Number(String(reader.int64()));
    else if (tag === 26) matchers.push(readMatcher(reader, reader.uint32() + reader.pos));
    else reader.skipType(tag & 7);
  }
  return { startMs, endMs, matchers };
}

function readMatcher(reader: protobuf.Reader, end: number): Matcher {
  let type = 0;
  let name = '';
  let value = '';
  while (reader.pos < end) {
    const tag = reader.uint32();
    if (tag === 8) type = reader.int32();
    else if (tag === 18) name = reader.string();
    else if (tag === 26) value = reader.string();
    else reader.skipType(tag & 7);
  }
  const known = MATCH_TYPES[type];
  if (known === undefined) throw new CodedError('bad_data', `cannot read: got the matcher type ${type}, want 0 to 3`);
  const matcher = { type: known, name, value };
  // A wrong regular expression is found here, not in the store.
  compileMatcher(matcher);
  return matcher;
}
