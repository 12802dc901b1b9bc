/**
 * User and operator faults: one table of stable codes with their HTTP and gRPC status. Programmer faults are failed
 * asserts (`node:assert`) and stop the process. docs/errors.md lists this table; a test compares the two.
 */

interface ErrorKind {
  readonly http: number;
  /** gRPC status code (https://grpc.io/docs/guides/status-codes/). */
  readonly grpc: number;
  readonly meaning: string;
}

export const GRPC = {
  cancelled: 1,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
} as const;

export const ERRORS = {
  // What senders are told.
  bad_body: { http: 400, grpc: GRPC.invalidArgument, meaning: 'a request body that cannot be decoded' },
  samples_refused: {
    http: 400,
    grpc: GRPC.invalidArgument,
    meaning: 'some samples of a request were refused, the rest is kept',
  },
  unsupported_media_type: {
    http: 415,
    grpc: GRPC.invalidArgument,
    meaning: 'a Content-Type or Content-Encoding that is not taken',
  },
  body_too_large: { http: 413, grpc: GRPC.resourceExhausted, meaning: 'a body above the limit, as sent or decoded' },
  series_limit: { http: 400, grpc: GRPC.resourceExhausted, meaning: 'a new series above the series or memory limit' },
  overloaded: { http: 503, grpc: GRPC.unavailable, meaning: 'the daemon cannot take this now; try again' },
  // What those are told who may not.
  unauthenticated: {
    http: 401,
    grpc: GRPC.unauthenticated,
    meaning: 'nothing was shown that says who asks, or a token that is not known',
  },
  forbidden: { http: 403, grpc: GRPC.permissionDenied, meaning: 'whoever asks is known, and may not do this' },
  // What people and programs that query are told.
  bad_data: { http: 400, grpc: GRPC.invalidArgument, meaning: 'a missing or malformed parameter, or a parse error' },
  query_unsupported: { http: 400, grpc: GRPC.invalidArgument, meaning: 'a part of PromQL that is not supported yet' },
  query_failed: { http: 422, grpc: GRPC.invalidArgument, meaning: 'the evaluation of a query failed' },
  query_too_large: { http: 422, grpc: GRPC.invalidArgument, meaning: 'a query that would read too many samples' },
  query_timeout: { http: 503, grpc: GRPC.deadlineExceeded, meaning: 'a query that took longer than its timeout' },
  query_canceled: { http: 499, grpc: GRPC.cancelled, meaning: 'the client went away' },
  not_found: { http: 404, grpc: GRPC.notFound, meaning: 'no such resource' },
  internal: { http: 500, grpc: GRPC.internal, meaning: 'a fault of the daemon' },
  // What autoscalers are told when there is no value: an absence and its reason, never a zero.
  bad_metadata: {
    http: 400,
    grpc: GRPC.invalidArgument,
    meaning: 'trigger metadata or a selector that cannot be used',
  },
  unknown_metric: { http: 404, grpc: GRPC.notFound, meaning: 'no series with this metric name was ever received' },
  no_series: { http: 404, grpc: GRPC.notFound, meaning: 'the metric exists, but no series matches' },
  stale: { http: 503, grpc: GRPC.unavailable, meaning: 'matching series exist, but their newest samples are too old' },
  warming_up: { http: 503, grpc: GRPC.unavailable, meaning: 'the daemon has not yet received enough to answer' },
  not_a_number: { http: 503, grpc: GRPC.unavailable, meaning: 'the value is NaN or infinite' },
  negative: {
    http: 503,
    grpc: GRPC.unavailable,
    meaning: 'the value is negative, which an autoscaler would read as 0',
  },
  ambiguous: {
    http: 422,
    grpc: GRPC.failedPrecondition,
    meaning: 'the query has several series where one value is wanted',
  },
  // What the operator is told.
  bad_config: {
    http: 500,
    grpc: GRPC.failedPrecondition,
    meaning: 'a flag, variable or configuration file that cannot be used',
  },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof ERRORS;

/** A fault of a user, sender or operator. The message says: cannot <verb> <thing>: got X, want Y. */
export class CodedError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'CodedError';
    this.code = code;
  }

  get httpStatus(): number {
    return ERRORS[this.code].http;
  }

  get grpcStatus(): number {
    return ERRORS[this.code].grpc;
  }
}

/** Ends an exhaustive switch: the compiler proves that it is never reached. */
export function unreachable(never: never): never {
  throw new Error(`unreachable: ${JSON.stringify(never)}`);
}
