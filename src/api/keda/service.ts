/** What the gRPC services of the KEDA port share: methods that stay bytes, and errors as gRPC tells them. */
import type { ServiceDefinition } from '@grpc/grpc-js';
import { CodedError } from '../../model/errors.ts';
import { type CallFault, faultOf } from './external-scaler.ts';

/** HTTP/2 headers carry the message; clients refuse large ones. */
const DETAILS_CHARACTERS_MAX = 1000;

export interface Methods {
  readonly unaries?: readonly string[];
  readonly streams?: readonly string[];
  readonly bidirectional?: readonly string[];
}

/** A service whose requests and replies stay bytes. */
export function serviceDefinition(
  service: string,
  { unaries = [], streams = [], bidirectional = [] }: Methods,
): ServiceDefinition {
  const identity = (bytes: Buffer): Buffer => bytes;
  const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
    path: `/${service}/${name}`,
    requestStream,
    responseStream,
    requestSerialize: identity,
    requestDeserialize: identity,
    responseSerialize: identity,
    responseDeserialize: identity,
  });
  return Object.fromEntries([
    ...unaries.map((name) => [name, method(name, false, false)]),
    ...streams.map((name) => [name, method(name, false, true)]),
    ...bidirectional.map((name) => [name, method(name, true, true)]),
  ]);
}

/** The result, or a user's fault; nothing else is caught. */
export function attempt<T>(run: () => T): T | CallFault {
  try {
    return run();
  } catch (error) {
    if (error instanceof CodedError) return shortFault(faultOf(error));
    throw error;
  }
}

export function isFault(error: unknown): error is CallFault {
  return (
    typeof error === 'object' && error !== null && !(error instanceof Error) && 'code' in error && 'details' in error
  );
}

/** Cut at a whole character: half a surrogate pair cannot be written. */
export function shortFault({ code, details }: CallFault): CallFault {
  if (details.length <= DETAILS_CHARACTERS_MAX) return { code, details };
  return { code, details: `${details.slice(0, DETAILS_CHARACTERS_MAX).replace(/[\ud800-\udbff]$/, '')}…` };
}
