/**
 * OTLP metrics over gRPC: bytes in, bytes out. Nothing here knows a message: the writer decodes, as for HTTP.
 * Source: open-telemetry/opentelemetry-proto, docs/specification.md, "OTLP/gRPC".
 */
import type { Socket } from 'node:net';
import type { Origin } from '../../ingest/senders.ts';
import { LIMITS } from '../../model/limits.ts';
import type { PortConnections } from '../connections.ts';
import { callAdmission } from '../grpc/admission.ts';
import type { CallOrigin } from '../grpc/call.ts';
import { type GrpcFault, GrpcServer } from '../grpc/server.ts';
import type { Identity } from '../guard.ts';
import { openPort } from '../port.ts';
import type { ReadTls } from '../tls.ts';
import { TURN_BUDGET } from '../turn.ts';
import { encodeExportResponse, shorten } from './otlp-reply.ts';
import type { PushDeps } from './push.ts';
import { faultOf } from './reply.ts';
import { peerOf } from './sender.ts';
import { retryInfo } from './shedding.ts';

export interface OtlpGrpcOptions extends PushDeps {
  readonly listen: { readonly host: string; readonly port: number };
  /** Null for plain text. */
  readonly readTls?: ReadTls | null;
  readonly connections?: PortConnections | null;
  /** How long calls in flight may take to end when the server closes. */
  readonly closeMsMax?: number;
}

const EXPORT = '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export';
const CLOSE_MS_MAX = 5000;

/** Listens; the address is the one really bound. */
export async function openOtlpGrpc(options: OtlpGrpcOptions): Promise<{ address: string; close(): Promise<void> }> {
  const { listen, readTls = null, closeMsMax = CLOSE_MS_MAX, logger, guard = null, connections = null } = options;
  const answer = async (body: Buffer, { name, namespace }: Identity, { socket, userAgent }: CallOrigin) =>
    TURN_BUDGET.do(() => exportMetrics(options, body, { peer: peerOf(socket), name, namespace, userAgent }));
  const grpc = new GrpcServer({
    methods: new Map([[EXPORT, { kind: 'unary', answer, late: null }]]),
    // The limit holds for what is received and, for compressed messages, for what comes out.
    messageBytesMax: LIMITS.otlpBodyBytesMax,
    logger,
    refused: () => connections?.refuse('protocol'),
    ...(guard === null ? {} : { admit: callAdmission(guard, 'write') }),
  });
  const accept = (connection: Socket): void => grpc.accept(connection);
  const port = await openPort({ listen, readTls, what: 'the OTLP/gRPC port', logger, accept, connections });
  const close = async (): Promise<void> => {
    port.close();
    await grpc.close(closeMsMax);
  };
  return { address: port.address, close };
}

async function exportMetrics({ writer, logger }: PushDeps, body: Buffer, origin: Origin): Promise<Uint8Array> {
  try {
    const outcome = writer.otlp(body, origin.namespace, writer.senders.of('otlp', origin));
    if (outcome.logged !== undefined) await outcome.logged;
    return encodeExportResponse(outcome);
  } catch (error) {
    const { grpcStatus, message } = faultOf(error, logger);
    const details = shorten(message);
    const fault: GrpcFault = { code: grpcStatus, details, trailers: retryInfo(grpcStatus, details) };
    throw fault;
  }
}
