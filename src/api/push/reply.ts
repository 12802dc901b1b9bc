/** What goes wrong on the push surface, as a status and a text: the same for every route. */
import type { FastifyError } from 'fastify';
import type { Logger } from 'pino';
import { CodedError, ERRORS, type ErrorCode } from '../../model/errors.ts';

export interface Fault {
  readonly code: ErrorCode;
  readonly httpStatus: number;
  readonly grpcStatus: number;
  readonly message: string;
}

/** Turns whatever was thrown into a fault; what nobody expected is logged and becomes `internal`. */
export function faultOf(error: unknown, logger: Logger): Fault {
  if (error instanceof CodedError) return fault(error.code, error.message);
  const code = codeOfFastify(error);
  if (code !== null) return fault(code, (error as Error).message);
  logger.error({ err: error }, 'push request failed');
  return fault('internal', 'internal error: see the log of the daemon');
}

export function fault(code: ErrorCode, message: string): Fault {
  return { code, httpStatus: ERRORS[code].http, grpcStatus: ERRORS[code].grpc, message };
}

/** Fastify's own refusals of a request: the status says which. */
function codeOfFastify(error: unknown): ErrorCode | null {
  const status = (error as Partial<FastifyError> | null)?.statusCode;
  if (status === 413) return 'body_too_large';
  if (status === 415) return 'unsupported_media_type';
  return status !== undefined && status >= 400 && status < 500 ? 'bad_body' : null;
}
