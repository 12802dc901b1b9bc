/** gRPC's health service (grpc.health.v1), which Kubernetes' probes and load balancers ask. */
import type { handleServerStreamingCall, handleUnaryCall, Server } from '@grpc/grpc-js';
import { GRPC } from '../../model/errors.ts';
import { decodeHealthService, encodeHealth, HEALTH, type Health } from './messages.ts';
import { attempt, isFault, serviceDefinition } from './service.ts';
import type { ByteStream } from './streams.ts';

const SERVICE = 'grpc.health.v1.Health';

/** Adds the service. What comes back ends its watchers: they are told that serving is over, and end with OK. */
export function addHealth(server: Server, services: readonly string[]): () => void {
  const watchers = new Set<ByteStream>();
  const healthOf = (request: Buffer): Health => {
    const service = decodeHealthService(request);
    const isKnown = service === '' || service === SERVICE || services.includes(service);
    return isKnown ? HEALTH.serving : HEALTH.serviceUnknown;
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
  server.addService(serviceDefinition(SERVICE, { unaries: ['Check'], streams: ['Watch'] }), {
    Check: check,
    Watch: watch,
  });
  return () => {
    for (const watcher of watchers) {
      watcher.write(encodeHealth(HEALTH.notServing));
      watcher.end();
    }
    watchers.clear();
  };
}
