/** How a gRPC call ends, as headers of HTTP/2. Source: grpc/grpc, doc/PROTOCOL-HTTP2.md. */
import { GRPC } from '../../model/errors.ts';
import { encodeHeaders, type HeaderField } from './hpack.ts';

/** An error as gRPC tells it. */
export interface GrpcFault {
  /** gRPC status code. */
  readonly code: number;
  readonly details: string;
  /** More trailers; names that end in `-bin` hold base64. */
  readonly trailers?: Readonly<Record<string, string>>;
}

const ENCODINGS_TAKEN = 'identity,deflate,gzip';
const OK_HEADERS: readonly HeaderField[] = [
  { name: ':status', value: '200' },
  { name: 'content-type', value: 'application/grpc' },
  { name: 'grpc-accept-encoding', value: ENCODINGS_TAKEN },
];

/** In front of every message. */
export const REPLY_HEADERS = encodeHeaders(OK_HEADERS);
/** The end of a call that went well. */
export const OK_TRAILERS = encodeHeaders([{ name: 'grpc-status', value: '0' }]);

/** The end of a call that failed, as trailers after messages. */
export function faultTrailers(fault: GrpcFault): Buffer {
  return encodeHeaders(faultFields(fault));
}

/** The same as the whole reply. */
export function faultReply(fault: GrpcFault): Buffer {
  return encodeHeaders([...OK_HEADERS, ...faultFields(fault)]);
}

/** What a request is told that is no gRPC. */
export function plainRefusal(httpStatus: number): Buffer {
  return encodeHeaders([{ name: ':status', value: String(httpStatus) }]);
}

/** Whether something thrown is a fault: an object of a code and details, and no error. */
export function isFault(error: unknown): error is GrpcFault {
  return (
    typeof error === 'object' && error !== null && !(error instanceof Error) && 'code' in error && 'details' in error
  );
}

export const FAULT_INTERNAL: GrpcFault = { code: GRPC.internal, details: 'a fault of the daemon, see its log' };

function faultFields({ code, details, trailers = {} }: GrpcFault): HeaderField[] {
  const fields = [{ name: 'grpc-status', value: String(code) }];
  if (details !== '') fields.push({ name: 'grpc-message', value: percentEncoded(details) });
  for (const [name, value] of Object.entries(trailers)) fields.push({ name, value });
  return fields;
}

/** Printable ASCII but for the percent sign stands for itself, every other byte of the UTF-8 is escaped. */
function percentEncoded(text: string): string {
  if (/^[ -$&-~]*$/.test(text)) return text;
  let encoded = '';
  for (const byte of Buffer.from(text)) {
    const isPlain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    encoded += isPlain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}
