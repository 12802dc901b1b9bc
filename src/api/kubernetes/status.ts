/**
 * Kubernetes' `Status`: the body of every answer that is not the wanted object. Its message is what people see in the
 * conditions of an HPA. kubernetes/apimachinery, pkg/api/errors/errors.go has reasons and codes.
 */
import { CodedError, ERRORS } from '../../model/errors.ts';
import { absenceText, type ReadingAbsence } from '../../scaling/reading.ts';
import { RuleError } from './adapter/naming.ts';

export interface StatusCause {
  readonly reason: string;
  readonly message: string;
}

/** Thrown where a request ends; the server turns it into a `Status`. */
export class StatusError extends Error {
  readonly httpStatus: number;
  readonly reason: string;
  readonly causes: readonly StatusCause[];
  /** More of `details`: whom or what the error is about. */
  readonly about: Readonly<Record<string, string | number>>;

  constructor(
    httpStatus: number,
    reason: string,
    message: string,
    causes: readonly StatusCause[] = [],
    about: Readonly<Record<string, string | number>> = {},
  ) {
    super(message);
    this.name = 'StatusError';
    this.httpStatus = httpStatus;
    this.reason = reason;
    this.causes = causes;
    this.about = about;
  }
}

export function statusBody({ httpStatus: code, reason, message, causes, about }: StatusError): object {
  const fields = { ...about, ...(causes.length > 0 ? { causes } : {}) };
  const details = Object.keys(fields).length > 0 ? { details: fields } : {};
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason, ...details, code };
}

export function resourceNotFound(): StatusError {
  return new StatusError(404, 'NotFound', 'the server could not find the requested resource');
}

/** The blank at the end is what other servers of this API send. */
export function metricNotFound(metric: string): StatusError {
  return new StatusError(404, 'NotFound', `the server could not find the metric ${metric} for `);
}

/** The same of objects: `pods`, or `pods p-1`. */
export function objectMetricNotFound(metric: string, objects: string): StatusError {
  return new StatusError(404, 'NotFound', `the server could not find the metric ${metric} for ${objects}`);
}

export function methodNotAllowed(): StatusError {
  return new StatusError(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource');
}

export function badRequest(message: string): StatusError {
  return new StatusError(400, 'BadRequest', message);
}

export function internalError(message: string, causes: readonly StatusCause[] = []): StatusError {
  return new StatusError(500, 'InternalError', `Internal error occurred: ${message}`, causes);
}

/**
 * An absence as an HPA is told: whatever the code, it holds the replicas and shows the message. 503 goes without
 * `Retry-After`: client-go would repeat the request ten times after it and hold up one of the HPA's five workers.
 */
export function absenceStatus(metric: string, absence: ReadingAbsence): StatusError {
  const message = `metric ${metric}: ${absenceText(absence)}`;
  const causes = [{ reason: absence.code, message: absence.reason }];
  const http = ERRORS[absence.code].http;
  if (absence.code === 'query_timeout') return new StatusError(504, 'Timeout', `Timeout: ${message}`, causes);
  if (http === 404) return new StatusError(404, 'NotFound', message, causes);
  if (http === 503) return new StatusError(503, 'ServiceUnavailable', message, causes);
  if (absence.code === 'ambiguous') return new StatusError(422, 'Invalid', message, causes);
  return internalError('unable to fetch metrics', [{ reason: absence.code, message }]);
}

/** Reads a selector; what is none is 400. */
export function selectorOf<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof CodedError) throw badRequest(error.message);
    throw error;
  }
}

/** Does what a rule says; a fault of the rule is 500 with its reason, one of the request's selector is 400. */
export function ruleFault<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof CodedError && error.message.startsWith('operator ')) throw badRequest(error.message);
    if (!(error instanceof CodedError) && !(error instanceof RuleError)) throw error;
    throw internalError('unable to fetch metrics', [{ reason: 'bad_rule', message: error.message }]);
  }
}

/** Any error as a `Status`; what is no fault of the caller says nothing about the inside. */
export function toStatusError(error: unknown): StatusError {
  if (error instanceof StatusError) return error;
  if (error instanceof CodedError && error.httpStatus === 400) return badRequest(error.message);
  const httpStatus = clientStatus(error);
  if (httpStatus !== null)
    return new StatusError(httpStatus, 'BadRequest', error instanceof Error ? error.message : 'bad request');
  return internalError('a fault of the daemon, see its log');
}

/** fastify's own errors about a request carry a status of 4xx. */
function clientStatus(error: unknown): number | null {
  if (!(error instanceof Error) || !('statusCode' in error)) return null;
  const { statusCode } = error;
  return typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500 ? statusCode : null;
}
