/**
 * The port that KEDA talks to: gRPC over plain text or TLS, with the external scaler, gRPC's health service and
 * reflection. KEDA sets no deadline and blocks the whole ScaledObject while it waits, so every call has one here.
 */
import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import { CodedError, ERRORS } from '../../model/errors.ts';
import { LIMITS } from '../../model/limits.ts';
import type { Cell, Family, HistogramCell, Registry } from '../../telemetry/registry.ts';
import type { PortConnections } from '../connections.ts';
import { callAdmission } from '../grpc/admission.ts';
import { type GrpcFault, GrpcServer, isFault, type Method, type ReplyStream } from '../grpc/server.ts';
import type { Guard } from '../guard.ts';
import { openPort } from '../port.ts';
import { scalerDuration } from '../scaler-durations.ts';
import type { ReadTls } from '../tls.ts';
import { faultOf, SCALER_CALLS, type ScalerCall, type ScalerDependencies } from './external-scaler.ts';
import { healthMethods } from './health.ts';
import { reflectionMethods } from './reflection.ts';
import { shortFault } from './service.ts';
import { type PushDependencies, PushStreams } from './streams.ts';

export interface KedaOptions extends ScalerDependencies {
  /** Null listens nowhere: connections come through `accept` alone. */
  readonly listen: { readonly host: string; readonly port: number } | null;
  /** Null for plain text. */
  readonly readTls?: ReadTls | null;
  readonly connections?: PortConnections | null;
  readonly reloadMs?: number;
  /** Left out, the streams of `external-push` are not served. */
  readonly push?: PushDependencies | null;
  readonly registry: Registry;
  /** Who may ask; everybody, if absent. */
  readonly guard?: Guard | null;
}

export interface KedaPort {
  /** host:port that is really bound; '' if nowhere. */
  readonly address: string;
  /** Serves gRPC on a connection that came by another way, in plain text. */
  accept(connection: Socket): void;
  /** The same for one that begins with TLS; null if the port has none. */
  readonly acceptTls: ((connection: Socket) => void) | null;
  close(): Promise<void>;
}

export const SCALER = 'externalscaler.ExternalScaler';
/** How long calls under way may take to end when the port closes; their own deadline is shorter. */
const CLOSE_MS_MAX = 2000;

/** Listens; rejects if the address cannot be bound. */
export async function openKeda(options: KedaOptions): Promise<KedaPort> {
  const { listen, readTls = null, reloadMs, guard = null, connections = null, logger, registry } = options;
  const scaler = scalerMethods(options);
  const health = healthMethods([SCALER]);
  const refusals = registry.counter(
    'tidegauge_keda_connections_refused_total',
    'Connections to the KEDA port that were ended because of what their client sent.',
  );
  const server = new GrpcServer({
    methods: new Map([...scaler.methods, ...health.methods, ...reflectionMethods()]),
    messageBytesMax: LIMITS.kedaRequestBytesMax,
    logger,
    ...(guard === null ? {} : { admit: callAdmission(guard, 'scale', `/${SCALER}/`) }),
    refused: () => {
      refusals.with().value++;
      connections?.refuse('protocol');
    },
  });
  registry.computed(
    'gauge',
    'tidegauge_keda_calls_open',
    'Calls of the KEDA port that are open, streams included.',
    () => server.calls,
  );
  // By this door come plain connections and decrypted ones alike.
  const accept = (connection: Socket): void => server.accept(connection);
  const reloading = reloadMs === undefined ? {} : { reloadMs };
  const port =
    listen === null
      ? null
      : await openPort({ listen, readTls, what: 'the KEDA port', logger, accept, connections, ...reloading });
  const close = async (): Promise<void> => {
    port?.close();
    scaler.close();
    health.close();
    await server.close(CLOSE_MS_MAX);
  };
  const acceptTls = port === null || readTls === null ? null : port.take;
  return { address: port?.address ?? '', accept, acceptTls, close };
}

/** The scaler's methods, and what ends its streams with OK. */
function scalerMethods(options: KedaOptions): {
  readonly methods: readonly (readonly [path: string, method: Method])[];
  readonly close: () => void;
} {
  const { registry, push = null, logger } = options;
  const requests = registry.counter(
    'tidegauge_keda_requests_total',
    'Calls of the KEDA external scaler.',
    'method',
    'grpc_code',
  );
  const unaries = ['GetMetricSpec', 'GetMetrics', 'IsActive'] as const;
  const methods: [string, Method][] = unaries.map((method) => [
    method,
    unary(method, SCALER_CALLS[method], options, { requests, duration: scalerDuration(registry, 'keda', method) }),
  ]);
  const streams = push === null ? null : new PushStreams({ ...options, ...push }, endStream);
  if (streams !== null) {
    const openers = {
      StreamIsActive: (call: ReplyStream) => streams.openIsActive(call),
      StreamMetricSpec: (call: ReplyStream) => streams.openMetricSpec(call),
    };
    for (const [method, open] of Object.entries(openers))
      methods.push([method, serverStream(method, open, requests, logger)]);
  }
  return {
    methods: methods.map(([name, method]) => [`/${SCALER}/${name}`, method]),
    close: () => streams?.close(),
  };
}

function endStream(stream: ReplyStream, error: CodedError | null): void {
  stream.finish(error === null ? null : shortFault(faultOf(error)));
}

/** The evaluation ends itself in time; this holds even if it does not. */
const LATE = {
  afterMs: LIMITS.scalerTimeoutMs,
  fault: faultOf(new CodedError('query_timeout', `the answer took longer than ${LIMITS.scalerTimeoutMs} ms`)),
};

function unary(
  method: string,
  call: ScalerCall,
  dependencies: ScalerDependencies,
  { requests, duration }: { readonly requests: Family<Cell>; readonly duration: HistogramCell },
): Method {
  const answered = requests.with(method, '0');
  return {
    kind: 'unary',
    answer: async (request, { namespace }) => {
      const beganMs = performance.now();
      try {
        return await call(request, namespace === '' ? dependencies : within(dependencies, namespace));
      } catch (error) {
        throw shortFault(toFault(method, error, dependencies.logger));
      } finally {
        duration.observe((performance.now() - beganMs) / 1000);
      }
    },
    late: LATE,
    count: (code) => {
      const cell = code === 0 ? answered : requests.with(method, String(code));
      cell.value++;
    },
  };
}

function within(
  { readings, kedify = null, tenancy = 'off', logger }: ScalerDependencies,
  namespace: string,
): ScalerDependencies {
  return { readings, kedify, tenancy, namespace, logger };
}

function serverStream(
  method: string,
  open: (call: ReplyStream) => void,
  requests: Family<Cell>,
  logger: Logger,
): Method {
  return {
    kind: 'server_stream',
    open: (call) => {
      try {
        open(call);
        requests.with(method, '0').value++;
      } catch (error) {
        const fault = toFault(method, error, logger);
        requests.with(method, String(fault.code)).value++;
        throw shortFault(fault);
      }
    },
  };
}

function toFault(method: string, error: unknown, logger: Logger): GrpcFault {
  if (error instanceof CodedError) return faultOf(error);
  if (isFault(error)) return error;
  logger.error({ err: error, method }, 'a call of the KEDA external scaler failed');
  return { code: ERRORS.internal.grpc, details: 'a fault of the daemon, see its log [internal]' };
}
