/**
 * OTLP metrics over gRPC: bytes in, bytes out. Nothing here knows a message: the writer decodes, as for HTTP.
 * Source: open-telemetry/opentelemetry-proto, docs/specification.md, "OTLP/gRPC".
 */
import { type AddressInfo, createServer, type Server } from 'node:net';
import { LIMITS } from '../../model/limits.ts';
import { type GrpcFault, GrpcServer } from '../grpc/server.ts';
import { encodeExportResponse, shorten } from './otlp-reply.ts';
import type { PushDeps } from './push.ts';
import { faultOf } from './reply.ts';
import { retryInfo } from './shedding.ts';

export interface OtlpGrpcOptions extends PushDeps {
  readonly listen: { readonly host: string; readonly port: number };
  /** How long calls in flight may take to end when the server closes. */
  readonly closeMsMax?: number;
}

const EXPORT = '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export';
const CLOSE_MS_MAX = 5000;

/** Listens; the address is the one really bound. */
export async function openOtlpGrpc(options: OtlpGrpcOptions): Promise<{ address: string; close(): Promise<void> }> {
  const grpc = new GrpcServer({
    methods: new Map([[EXPORT, { kind: 'unary', answer: (body) => exportMetrics(options, body), late: null }]]),
    // The limit holds for what is received and, for compressed messages, for what comes out.
    messageBytesMax: LIMITS.otlpBodyBytesMax,
    logger: options.logger,
  });
  const server = createServer((connection) => grpc.accept(connection));
  server.maxConnections = LIMITS.httpConnectionsMax;
  await listening(server, options.listen);
  const { address, port } = server.address() as AddressInfo;
  const close = async (): Promise<void> => {
    server.close();
    await grpc.close(options.closeMsMax ?? CLOSE_MS_MAX);
  };
  return { address: `${address.includes(':') ? `[${address}]` : address}:${port}`, close };
}

async function exportMetrics({ writer, logger }: PushDeps, body: Buffer): Promise<Uint8Array> {
  try {
    const outcome = writer.otlp(body);
    if (outcome.logged !== undefined) await outcome.logged;
    return encodeExportResponse(outcome);
  } catch (error) {
    const { grpcStatus, message } = faultOf(error, logger);
    const details = shorten(message);
    const fault: GrpcFault = { code: grpcStatus, details, trailers: retryInfo(grpcStatus, details) };
    throw fault;
  }
}

function listening(server: Server, listen: OtlpGrpcOptions['listen']): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(listen, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
