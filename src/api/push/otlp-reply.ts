/**
 * Replies of OTLP as protobuf, for HTTP and gRPC alike, and as JSON.
 * Source: opentelemetry-proto, collector/metrics/v1/metrics_service.proto; googleapis, google/rpc/status.proto.
 */
import protobuf from 'protobufjs/minimal.js';
import type { WriteOutcome } from '../../ingest/write.ts';

/** Characters of an error message: replies must stay small, whatever was wrong. */
const MESSAGE_LENGTH_MAX = 4096;

/** ExportMetricsServiceResponse: empty if everything was taken, else { 1 partial_success { 1 rejected, 2 message } }. */
export function encodeExportResponse({ samplesRefused, message }: WriteOutcome): Buffer {
  const writer = protobuf.Writer.create();
  if (samplesRefused > 0) {
    writer.uint32(tag(1, 2)).fork().uint32(tag(1, 0)).int64(samplesRefused);
    writer.uint32(tag(2, 2)).string(shorten(message)).ldelim();
  }
  return Buffer.from(writer.finish());
}

/** The same as JSON; 64-bit integers are strings there. */
export function exportResponseJson({ samplesRefused, message }: WriteOutcome): string {
  if (samplesRefused === 0) return '{}';
  const partialSuccess = { rejectedDataPoints: String(samplesRefused), errorMessage: shorten(message) };
  return JSON.stringify({ partialSuccess });
}

/** google.rpc.Status: { 1 code, 2 message }. */
export function encodeStatus(grpcStatus: number, message: string): Buffer {
  const writer = protobuf.Writer.create();
  writer.uint32(tag(1, 0)).int32(grpcStatus).uint32(tag(2, 2)).string(shorten(message));
  return Buffer.from(writer.finish());
}

export function shorten(message: string): string {
  return message.length <= MESSAGE_LENGTH_MAX ? message : `${message.slice(0, MESSAGE_LENGTH_MAX)}…`;
}

function tag(field: number, wireType: number): number {
  return (field << 3) | wireType;
}
