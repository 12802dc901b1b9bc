/** gRPC's health service (grpc.health.v1), which Kubernetes' probes and load balancers ask. */
import { GRPC } from '../../model/errors.ts';
import type { GrpcFault, Method, ReplyStream } from '../grpc/server.ts';
import { decodeHealthService, encodeHealth, HEALTH, type Health } from './messages.ts';
import { coded } from './service.ts';

const SERVICE = 'grpc.health.v1.Health';

/** The service's methods, and what ends its watchers: they are told that serving is over, and end with OK. */
export function healthMethods(services: readonly string[]): {
  readonly methods: readonly (readonly [path: string, method: Method])[];
  readonly close: () => void;
} {
  const watchers = new Set<ReplyStream>();
  const healthOf = (request: Buffer): Health => {
    const service = coded(() => decodeHealthService(request));
    const isKnown = service === '' || service === SERVICE || services.includes(service);
    return isKnown ? HEALTH.serving : HEALTH.serviceUnknown;
  };
  const check = (request: Buffer): Buffer => {
    const health = healthOf(request);
    if (health === HEALTH.serving) return encodeHealth(health);
    const unknown: GrpcFault = { code: GRPC.notFound, details: 'unknown service' };
    throw unknown;
  };
  const watch = (stream: ReplyStream): void => {
    stream.write(encodeHealth(healthOf(stream.request)));
    watchers.add(stream);
    stream.onOver(() => watchers.delete(stream));
  };
  const close = (): void => {
    for (const watcher of [...watchers]) {
      watcher.write(encodeHealth(HEALTH.notServing));
      watcher.finish(null);
    }
  };
  return {
    methods: [
      [`/${SERVICE}/Check`, { kind: 'unary', answer: check, late: null }],
      [`/${SERVICE}/Watch`, { kind: 'server_stream', open: watch }],
    ],
    close,
  };
}
