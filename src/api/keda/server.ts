/**
 * The port that KEDA talks to: gRPC over plain text or TLS, with the external scaler, gRPC's health service and
 * reflection. KEDA sets no deadline and blocks the whole ScaledObject while it waits, so every call has one here.
 */
import type { Socket } from 'node:net';
import { type handleServerStreamingCall, type handleUnaryCall, Server, ServerCredentials } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import { CodedError, ERRORS } from '../../model/errors.ts';
import { LIMITS } from '../../model/limits.ts';
import type { Cell, Family, Registry } from '../../telemetry/registry.ts';
import { type CallFault, faultOf, SCALER_CALLS, type ScalerCall, type ScalerDependencies } from './external-scaler.ts';
import { addHealth } from './health.ts';
import { openPort, type TlsFiles } from './port.ts';
import { addReflection } from './reflection.ts';
import { isFault, serviceDefinition, shortFault } from './service.ts';
import { type ByteStream, type PushDependencies, PushStreams } from './streams.ts';

export type { TlsFiles } from './port.ts';

export interface KedaOptions extends ScalerDependencies {
  /** Null listens nowhere: connections come through `accept` alone. */
  readonly listen: { readonly host: string; readonly port: number } | null;
  /** Null for plain text. */
  readonly readTls?: (() => TlsFiles) | null;
  readonly reloadMs?: number;
  /** Left out, the streams of `external-push` are not served. */
  readonly push?: PushDependencies | null;
  readonly registry: Registry;
}

export interface KedaPort {
  /** host:port that is really bound; '' if nowhere. */
  readonly address: string;
  /** Serves gRPC on a connection that came by another way. */
  accept(connection: Socket): void;
  close(): Promise<void>;
}

export const SCALER = 'externalscaler.ExternalScaler';
/** How long calls under way may take to end when the port closes; their own deadline is shorter. */
const CLOSE_MS_MAX = 2000;

/** Listens; rejects if the address cannot be bound. */
export async function openKeda(options: KedaOptions): Promise<KedaPort> {
  const server = new Server({
    'grpc.max_receive_message_length': LIMITS.kedaRequestBytesMax,
    'grpc.enable_channelz': 0,
  });
  const endStreams = addScaler(server, options);
  const endWatchers = addHealth(server, [SCALER]);
  addReflection(server);
  // By this door, and not by grpc-js' own listener: it takes plain connections and decrypted ones alike.
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const accept = (connection: Socket): void => {
    connection.on('error', () => connection.destroy());
    connection.setNoDelay(true);
    injector.injectConnection(connection);
  };
  const { listen, readTls = null, reloadMs, logger } = options;
  const reloading = reloadMs === undefined ? {} : { reloadMs };
  const port = listen === null ? null : await openPort({ listen, readTls, logger, accept, ...reloading });
  const close = async (): Promise<void> => {
    port?.close();
    endStreams();
    endWatchers();
    await shutDown(server);
  };
  return { address: port?.address ?? '', accept, close };
}

/** Adds the service. What comes back ends its streams with OK. */
function addScaler(server: Server, options: KedaOptions): () => void {
  const { registry, push = null, logger } = options;
  const requests = registry.counter(
    'tidegauge_keda_requests_total',
    'Calls of the KEDA external scaler.',
    'method',
    'grpc_code',
  );
  const streams = push === null ? null : new PushStreams({ ...options, ...push }, endStream);
  const stream = (
    method: 'StreamIsActive' | 'StreamMetricSpec',
    open: (streams: PushStreams, call: ByteStream) => void,
  ) => serverStream(method, (call) => open(streams!, call), requests, logger);
  const unaries = ['GetMetricSpec', 'GetMetrics', 'IsActive'] as const;
  const pushes = streams === null ? [] : ['StreamIsActive', 'StreamMetricSpec'];
  server.addService(serviceDefinition(SCALER, { unaries, streams: pushes }), {
    ...Object.fromEntries(unaries.map((method) => [method, unary(method, SCALER_CALLS[method], options, requests)])),
    ...(streams === null
      ? {}
      : {
          StreamIsActive: stream('StreamIsActive', (to, call) => to.openIsActive(call)),
          StreamMetricSpec: stream('StreamMetricSpec', (to, call) => to.openMetricSpec(call)),
        }),
  });
  return () => streams?.close();
}

function endStream(stream: ByteStream, error: CodedError | null): void {
  if (error !== null) stream.emit('error', shortFault(faultOf(error)));
  else if (!stream.cancelled) stream.end();
}

function unary(
  method: string,
  call: ScalerCall,
  dependencies: ScalerDependencies,
  requests: Family<Cell>,
): handleUnaryCall<Buffer, Buffer> {
  return (request, reply) => {
    withDeadline(call(request.request, dependencies)).then(
      (bytes) => {
        requests.with(method, '0').value++;
        reply(null, bytes);
      },
      (error: unknown) => {
        const fault = toFault(method, error, dependencies.logger);
        requests.with(method, String(fault.code)).value++;
        reply(shortFault(fault));
      },
    );
  };
}

function serverStream(
  method: string,
  open: (call: ByteStream) => void,
  requests: Family<Cell>,
  logger: Logger,
): handleServerStreamingCall<Buffer, Buffer> {
  return (call) => {
    try {
      open(call);
      requests.with(method, '0').value++;
    } catch (error) {
      const fault = toFault(method, error, logger);
      requests.with(method, String(fault.code)).value++;
      call.emit('error', shortFault(fault));
    }
  };
}

/** The evaluation ends itself in time; this one holds even if it does not. */
async function withDeadline(answer: Promise<Buffer>): Promise<Buffer> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const message = `the answer took longer than ${LIMITS.scalerTimeoutMs} ms`;
    timer = setTimeout(() => reject(new CodedError('query_timeout', message)), LIMITS.scalerTimeoutMs);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}

function toFault(method: string, error: unknown, logger: Logger): CallFault {
  if (error instanceof CodedError) return faultOf(error);
  if (isFault(error)) return error;
  logger.error({ err: error, method }, 'a call of the KEDA external scaler failed');
  return { code: ERRORS.internal.grpc, details: 'a fault of the daemon, see its log [internal]' };
}

/** Lets calls under way end; what will not end is cut off. */
function shutDown(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      server.forceShutdown();
      resolve();
    }, CLOSE_MS_MAX);
    server.tryShutdown(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
