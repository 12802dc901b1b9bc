/** What the routes that take samples are, for the OpenAPI document. */
import type { Described } from '../openapi.ts';

const OVERLOAD = 'overload or a full disk; try again after `Retry-After`';

export const REMOTE_WRITE: Described = {
  tag: 'write',
  summary: 'Prometheus remote-write 1.0 and 2.0',
  description: 'The reply to 2.0 says in X-Prometheus-Remote-Write-*-Written how much was stored.',
  body: { types: ['application/x-protobuf'], description: 'A WriteRequest, compressed with snappy.' },
  reply: { type: 'text/plain', description: 'all of it was stored' },
  status: 204,
  errors: {
    400: 'some samples were refused, by reason, and the rest stored; or nothing can be read: do not send it again',
    413: 'the body is too large',
    415: 'another media type or compression',
    503: OVERLOAD,
  },
};

export const OTLP: Described = {
  tag: 'write',
  summary: 'OTLP metrics over HTTP',
  body: {
    types: ['application/x-protobuf', 'application/json'],
    description: 'An ExportMetricsServiceRequest; gzip, and zstd where Node has it.',
  },
  reply: { type: 'application/x-protobuf', description: 'partialSuccess says how many points were refused and why' },
  errors: { 400: 'nothing can be read: do not send it again', 415: 'another media type or compression', 503: OVERLOAD },
};

export const IMPORT: Described = {
  tag: 'write',
  summary: "Samples in Prometheus' text format or OpenMetrics",
  parameters: {
    extra_label: { description: '`name=value`, set on every series; may be given several times.' },
    timestamp: { description: 'Milliseconds since 1970, for samples without a time of their own.' },
  },
  body: { types: ['text/plain', 'application/openmetrics-text'], description: 'Lines; gzip.' },
  reply: { type: 'text/plain', description: 'all of it was stored' },
  status: 204,
  errors: { 400: 'some lines were refused, and the rest stored', 413: 'the body is too large', 503: OVERLOAD },
};
