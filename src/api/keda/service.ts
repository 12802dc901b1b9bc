/** Errors of ours as the gRPC services of the KEDA port tell them. */
import { CodedError } from '../../model/errors.ts';
import type { GrpcFault } from '../grpc/server.ts';
import { faultOf } from './external-scaler.ts';

/** HTTP/2 headers carry the message; clients refuse large ones. */
const DETAILS_CHARACTERS_MAX = 1000;

/** The result; a user's fault becomes one of gRPC's, and nothing else is caught. */
export function coded<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof CodedError) throw shortFault(faultOf(error));
    throw error;
  }
}

/** Cut at a whole character: half a surrogate pair cannot be written. */
export function shortFault({ code, details }: GrpcFault): GrpcFault {
  if (details.length <= DETAILS_CHARACTERS_MAX) return { code, details };
  return { code, details: `${details.slice(0, DETAILS_CHARACTERS_MAX).replace(/[\ud800-\udbff]$/, '')}…` };
}
