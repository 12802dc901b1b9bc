/**
 * The port that KEDA talks to: gRPC over plain text, with the external scaler and gRPC's health service. KEDA sets no
 * deadline and blocks the whole ScaledObject while it waits, so every call has one here.
 */
import {
  type handleServerStreamingCall,
  type handleUnaryCall,
  Server,
  ServerCredentials,
  type ServerWritableStream,
  type ServiceDefinition,
} from '@grpc/grpc-js';
import type { Logger } from 'pino';
import { CodedError, ERRORS, GRPC } from '../../model/errors.ts';
import { LIMITS } from '../../model/limits.ts';
import type { Readings } from '../../scaling/reading.ts';
import type { Cell, Family, Registry } from '../../telemetry/registry.ts';
import { type CallFault, faultOf, SCALER_CALLS, type ScalerCall, type ScalerDependencies } from './external-scaler.ts';
import { decodeHealthService, encodeHealth, HEALTH, type Health } from './messages.ts';

export interface KedaOptions {
  readonly listen: { readonly host: string; readonly port: number };
  readonly readings: Pick<Readings, 'read'>;
  readonly logger: Logger;
  readonly registry: Registry;
}

export interface OpenPort {
  /** host:port that is really bound. */
  readonly address: string;
  close(): Promise<void>;
}

const SCALER = 'externalscaler.ExternalScaler';
const HEALTH_SERVICE = 'grpc.health.v1.Health';
/** How long calls under way may take to end when the port closes; their own deadline is shorter. */
const CLOSE_MS_MAX = 2000;
/** HTTP/2 headers carry the message; clients refuse large ones. */
const DETAILS_CHARACTERS_MAX = 1000;

type HealthStream = ServerWritableStream<Buffer, Buffer>;

/** Listens; rejects if the address cannot be bound. */
export async function openKeda(options: KedaOptions): Promise<OpenPort> {
  const server = new Server({
    'grpc.max_receive_message_length': LIMITS.kedaRequestBytesMax,
    'grpc.enable_channelz': 0,
  });
  const watchers = new Set<HealthStream>();
  addScaler(server, options);
  addHealth(server, watchers);
  const { host } = options.listen;
  const bracketed = host.includes(':') ? `[${host}]` : host;
  const port = await bind(server, `${bracketed}:${options.listen.port}`);
  return { address: `${bracketed}:${port}`, close: () => close(server, watchers) };
}

function addScaler(server: Server, { readings, logger, registry }: KedaOptions): void {
  const dependencies: ScalerDependencies = { readings, logger };
  const requests = registry.counter(
    'tidegauge_keda_requests_total',
    'Calls of the KEDA external scaler.',
    'method',
    'grpc_code',
  );
  const names = ['GetMetricSpec', 'GetMetrics', 'IsActive'] as const;
  const handlers = {
    GetMetricSpec: unary('GetMetricSpec', SCALER_CALLS.GetMetricSpec, dependencies, requests),
    GetMetrics: unary('GetMetrics', SCALER_CALLS.GetMetrics, dependencies, requests),
    IsActive: unary('IsActive', SCALER_CALLS.IsActive, dependencies, requests),
    StreamIsActive: unimplemented('StreamIsActive', 'use a trigger of type external', requests),
    StreamMetricSpec: unimplemented('StreamMetricSpec', 'KEDA polls GetMetricSpec instead', requests),
  };
  server.addService(serviceDefinition(SCALER, names, ['StreamIsActive', 'StreamMetricSpec']), handlers);
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
        reply({ code: fault.code, details: shorten(fault.details) });
      },
    );
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

function isFault(error: unknown): error is CallFault {
  return (
    typeof error === 'object' && error !== null && !(error instanceof Error) && 'code' in error && 'details' in error
  );
}

function unimplemented(
  method: string,
  advice: string,
  requests: Family<Cell>,
): handleServerStreamingCall<Buffer, Buffer> {
  return (call) => {
    requests.with(method, String(GRPC.unimplemented)).value++;
    call.emit('error', { code: GRPC.unimplemented, details: `${method} is not served yet: ${advice}` });
  };
}

function addHealth(server: Server, watchers: Set<HealthStream>): void {
  const healthOf = (request: Buffer): Health => {
    const service = decodeHealthService(request);
    return service === '' || service === SCALER || service === HEALTH_SERVICE ? HEALTH.serving : HEALTH.serviceUnknown;
  };
  const check: handleUnaryCall<Buffer, Buffer> = (call, reply) => {
    const health = attempt(() => healthOf(call.request));
    if (isFault(health)) reply(health);
    else if (health === HEALTH.serving) reply(null, encodeHealth(health));
    else reply({ code: GRPC.notFound, details: 'unknown service' });
  };
  const watch: handleServerStreamingCall<Buffer, Buffer> = (call) => {
    const health = attempt(() => healthOf(call.request));
    if (isFault(health)) {
      call.emit('error', health);
      return;
    }
    call.write(encodeHealth(health));
    watchers.add(call);
    call.on('cancelled', () => watchers.delete(call));
    call.on('close', () => watchers.delete(call));
  };
  server.addService(serviceDefinition(HEALTH_SERVICE, ['Check'], ['Watch']), { Check: check, Watch: watch });
}

/** The result, or a user's fault; nothing else is caught. */
function attempt<T>(run: () => T): T | CallFault {
  try {
    return run();
  } catch (error) {
    if (error instanceof CodedError) return faultOf(error);
    throw error;
  }
}

/** A service whose requests and replies stay bytes. */
function serviceDefinition(service: string, unaries: readonly string[], streams: readonly string[]): ServiceDefinition {
  const identity = (bytes: Buffer): Buffer => bytes;
  const method = (name: string, responseStream: boolean) => ({
    path: `/${service}/${name}`,
    requestStream: false,
    responseStream,
    requestSerialize: identity,
    requestDeserialize: identity,
    responseSerialize: identity,
    responseDeserialize: identity,
  });
  return Object.fromEntries([
    ...unaries.map((name) => [name, method(name, false)]),
    ...streams.map((name) => [name, method(name, true)]),
  ]);
}

function bind(server: Server, address: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, port) => {
      if (error === null) resolve(port);
      else reject(error);
    });
  });
}

/** Ends the streams with OK, lets calls under way end, then closes; what will not end is cut off. */
function close(server: Server, watchers: Set<HealthStream>): Promise<void> {
  for (const watcher of watchers) {
    watcher.write(encodeHealth(HEALTH.notServing));
    watcher.end();
  }
  watchers.clear();
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

/** Cut at a whole character: half a surrogate pair cannot be written. */
function shorten(details: string): string {
  if (details.length <= DETAILS_CHARACTERS_MAX) return details;
  return `${details.slice(0, DETAILS_CHARACTERS_MAX).replace(/[\ud800-\udbff]$/, '')}…`;
}
