/**
 * OTLP metrics over gRPC: bytes in, bytes out. Nothing here knows a message: the writer decodes, as for HTTP.
 * Source: open-telemetry/opentelemetry-proto, docs/specification.md, "OTLP/gRPC".
 */
import {
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServiceDefinition,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { LIMITS } from '../../model/limits.ts';
import { encodeExportResponse, shorten } from './otlp-reply.ts';
import type { PushDeps } from './push.ts';
import { faultOf } from './reply.ts';
import { retryInfo } from './shedding.ts';

export interface OtlpGrpcOptions extends PushDeps {
  readonly listen: { readonly host: string; readonly port: number };
  /** How long calls in flight may take to end when the server closes. */
  readonly closeMsMax?: number;
}

const identity = (bytes: Buffer): Buffer => bytes;
const METRICS_SERVICE: ServiceDefinition = {
  Export: {
    path: '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export',
    requestStream: false,
    responseStream: false,
    requestSerialize: identity,
    requestDeserialize: identity,
    responseSerialize: identity,
    responseDeserialize: identity,
  },
};
const CLOSE_MS_MAX = 5000;

/** Listens; the address is the one really bound. */
export async function openOtlpGrpc(options: OtlpGrpcOptions): Promise<{ address: string; close(): Promise<void> }> {
  const server = new Server({
    // The limit holds for what is received and, for compressed messages, for what comes out.
    'grpc.max_receive_message_length': LIMITS.otlpBodyBytesMax,
    'grpc.enable_channelz': 0,
  });
  server.addService(METRICS_SERVICE, {
    Export: (call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) =>
      void exportMetrics(options, call.request, callback),
  });
  const host = options.listen.host.includes(':') ? `[${options.listen.host}]` : options.listen.host;
  const port = await bind(server, `${host}:${options.listen.port}`);
  return { address: `${host}:${port}`, close: () => close(server, options.closeMsMax ?? CLOSE_MS_MAX) };
}

async function exportMetrics(
  { writer, logger }: PushDeps,
  body: Buffer,
  callback: sendUnaryData<Buffer>,
): Promise<void> {
  let response: Buffer;
  try {
    const outcome = writer.otlp(body);
    if (outcome.logged !== undefined) await outcome.logged;
    response = encodeExportResponse(outcome);
  } catch (error) {
    const { grpcStatus, message } = faultOf(error, logger);
    const details = shorten(message);
    const metadata = retryInfo(grpcStatus, details);
    callback({ code: grpcStatus, details, ...(metadata === null ? {} : { metadata }) });
    return;
  }
  callback(null, response);
}

function bind(server: Server, address: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, port) => {
      if (error === null) resolve(port);
      else reject(error);
    });
  });
}

/** Lets calls in flight end, up to a bound. */
function close(server: Server, msMax: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      server.forceShutdown();
      resolve();
    }, msMax);
    server.tryShutdown(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
