/** What the routes of the query API are, for its OpenAPI document. */
import {
  BOOLEAN,
  type Described,
  LABELS,
  listOf,
  NUMBER,
  nullable,
  objectOf,
  type Parameter,
  type Schema,
  STRINGS,
  TEXT,
} from '../openapi.ts';

const QUERY: Parameter = { description: 'A PromQL expression.', isRequired: true, example: 'sum(up)' };
const TIME_TEXT = 'RFC 3339, or seconds since 1970 with a fraction.';
const START: Parameter = { description: `First moment. ${TIME_TEXT}` };
const END: Parameter = { description: `Last moment. ${TIME_TEXT}` };
const MATCH: Parameter = {
  description: 'A series selector; may be given several times.',
  schema: STRINGS,
  example: '{__name__="up"}',
};
const LIMIT: Parameter = { description: 'At most so many results, with a warning if there are more; 0 for all.' };

const COMMON: Readonly<Record<string, Parameter>> = {
  query: QUERY,
  timeout: { description: 'How long it may take, if that is less than --query.timeout.' },
  limit: LIMIT,
  lookback_delta: { description: 'How far an instant selector looks back, instead of --query.lookback-delta.' },
  stats: { description: 'Any text adds how long it took and how many samples were read; `all` adds samples by step.' },
};
const RANGE: Readonly<Record<string, Parameter>> = {
  start: { ...START, isRequired: true, example: '0' },
  end: { ...END, isRequired: true, example: '60' },
  step: { description: 'Seconds, or a duration such as 15s.', isRequired: true, example: '15' },
};

const ERRORS = {
  400: 'a parameter is missing or wrong (errorType `bad_data`)',
  422: 'the query cannot be evaluated (errorType `execution`)',
  503: 'it took too long or was cancelled (errorType `timeout`, `canceled`); or the daemon is starting or stopping',
};

function envelope(data: Schema): Schema {
  const status = { type: 'string', const: 'success' };
  return { ...objectOf({ status, data }), additionalProperties: true };
}

/** A moment in seconds and a value as text. */
const POINT: Schema = { type: 'array', prefixItems: [NUMBER, TEXT] };
const ONE: Schema = objectOf({ resultType: { enum: ['scalar', 'string'] }, result: POINT });
const VECTOR: Schema = objectOf({
  resultType: { const: 'vector' },
  result: listOf({ type: 'object', required: ['metric'], properties: { metric: LABELS, value: POINT } }),
});
const MATRIX: Schema = objectOf({
  resultType: { const: 'matrix' },
  result: listOf({ type: 'object', required: ['metric'], properties: { metric: LABELS, values: listOf(POINT) } }),
});
const ANYTHING: Schema = { type: 'object' };

function query(summary: string, parameters: Readonly<Record<string, Parameter>>, data: Schema): Described {
  return { tag: 'query', summary, parameters, reply: envelope(data), errors: ERRORS };
}

function found(summary: string, parameters: Readonly<Record<string, Parameter>>, data: Schema): Described {
  return { tag: 'query', summary, parameters, reply: envelope(data), errors: { 400: ERRORS[400] } };
}

function status(summary: string, data: Schema, parameters?: Readonly<Record<string, Parameter>>): Described {
  return { tag: 'status', summary, ...(parameters === undefined ? {} : { parameters }), reply: envelope(data) };
}

const SPAN = { start: START, end: END };
const COUNTED = listOf(objectOf({ name: TEXT, value: NUMBER }));
const EMPTY_LIST_TEXT = 'Always empty: nothing is alerted from here.';

/** By path below /api/v1. */
export const DESCRIBED: Readonly<Record<string, Described>> = {
  '/query': query(
    'The value of an expression at one moment',
    { ...COMMON, time: { description: `The moment; now, if absent. ${TIME_TEXT}` } },
    { anyOf: [VECTOR, MATRIX, ONE] },
  ),
  '/query_range': query('The values of an expression over time', { ...COMMON, ...RANGE }, MATRIX),
  '/explain': {
    ...query(
      'How a query would be evaluated; nothing is',
      {
        ...COMMON,
        ...SPAN,
        step: { description: 'With it, as a range query.' },
        time: { description: `The moment of an instant query. ${TIME_TEXT}` },
        format: { description: '`json`, or `text` for lines to read.' },
      },
      ANYTHING,
    ),
  },
  '/format_query': query('An expression, printed well', { query: QUERY }, TEXT),
  '/parse_query': query('An expression as a tree', { query: QUERY }, ANYTHING),
  '/query_exemplars': query(
    'Exemplars of the series that an expression selects',
    { query: QUERY, ...SPAN },
    {
      ...listOf(objectOf({ seriesLabels: LABELS, exemplars: listOf(ANYTHING) })),
    },
  ),
  '/labels': { ...found('Names of labels', { 'match[]': MATCH, ...SPAN, limit: LIMIT }, STRINGS) },
  '/label/:name/values': {
    ...found('Values of a label', { 'match[]': MATCH, ...SPAN, limit: LIMIT }, STRINGS),
    path: { name: { description: 'The name of the label.', example: '__name__', isRequired: true } },
  },
  '/series': {
    ...found(
      'Series by their labels',
      { 'match[]': { ...MATCH, isRequired: true }, ...SPAN, limit: LIMIT },
      listOf(LABELS),
    ),
  },
  '/metadata': found(
    'Type, help and unit of metrics, as senders told them',
    {
      metric: { description: 'Of this metric alone.' },
      limit: { description: 'At most so many metrics.' },
      limit_per_metric: { description: 'At most so many different ones of a metric.' },
    },
    { type: 'object', additionalProperties: listOf(objectOf({ type: TEXT, help: TEXT, unit: TEXT })) },
  ),
  '/status/buildinfo': status(
    'Versions: of the API that this is, and of the daemon',
    objectOf({ version: TEXT, tidegaugeVersion: TEXT }),
  ),
  '/status/config': status('The configuration in effect, without secrets', objectOf({ yaml: TEXT })),
  '/status/flags': status('Flags and their values', LABELS),
  '/status/ingest': status(
    'Who sends and how much, and what was refused since the start, by protocol and reason, with an example each',
    objectOf({
      senders: listOf(
        objectOf({
          protocol: TEXT,
          peer: TEXT,
          name: TEXT,
          namespace: TEXT,
          userAgent: TEXT,
          requests: NUMBER,
          samplesStored: NUMBER,
          requestsPerSecond: NUMBER,
          samplesPerSecond: NUMBER,
          refused: listOf(objectOf({ what: { enum: ['samples', 'requests'] }, reason: TEXT, count: NUMBER })),
          firstTime: TEXT,
          lastTime: TEXT,
        }),
      ),
      sendersForgotten: objectOf({ senders: NUMBER, requests: NUMBER, samplesStored: NUMBER }),
      rejects: listOf(
        objectOf({
          protocol: TEXT,
          what: { enum: ['samples', 'requests'] },
          reason: TEXT,
          count: NUMBER,
          example: TEXT,
          time: nullable(TEXT),
        }),
      ),
    }),
  ),
  '/status/runtimeinfo': status(
    'Of the process',
    objectOf({ startTime: TEXT, serverTime: TEXT, storageRetention: TEXT, reloadConfigSuccess: BOOLEAN }),
  ),
  '/status/tsdb': status(
    'Cardinality: where series and their memory come from',
    objectOf({
      headStats: objectOf({ numSeries: NUMBER, chunkCount: NUMBER, minTime: NUMBER, maxTime: NUMBER }),
      seriesCountByMetricName: COUNTED,
      labelValueCountByLabelName: COUNTED,
      memoryInBytesByLabelName: COUNTED,
      seriesCountByLabelValuePair: COUNTED,
    }),
    { limit: { description: 'Entries of each list, 10 if absent.', example: '5' } },
  ),
  '/status/walreplay': status('Progress of a replay', objectOf({ min: NUMBER, max: NUMBER, current: NUMBER })),
  '/rules': status(EMPTY_LIST_TEXT, objectOf({ groups: listOf(ANYTHING) }), {
    type: { description: '`alert` or `record`.' },
  }),
  '/alerts': status(EMPTY_LIST_TEXT, objectOf({ alerts: listOf(ANYTHING) })),
  '/alertmanagers': status(
    EMPTY_LIST_TEXT,
    objectOf({ activeAlertmanagers: listOf(ANYTHING), droppedAlertmanagers: listOf(ANYTHING) }),
  ),
  '/targets': status(
    'What is scraped from here',
    objectOf({ activeTargets: listOf(ANYTHING), droppedTargets: listOf(ANYTHING) }),
  ),
  '/scrape_pools': status('Names of the groups of targets', objectOf({ scrapePools: STRINGS })),
  '/targets/metadata': status('Metadata by target; empty', listOf(ANYTHING)),
};

/** Outside of the envelope; by whole path. */
export const DESCRIBED_APART = {
  version: {
    tag: 'status',
    summary: 'The same as buildinfo, without the envelope',
    reply: objectOf({ version: TEXT, tidegaugeVersion: nullable(TEXT) }),
  },
  federate: {
    tag: 'query',
    summary: 'The newest samples of the selected series, for a scrape',
    parameters: { 'match[]': { ...MATCH, isRequired: true } },
    reply: { type: 'text/plain', description: 'the text format, or OpenMetrics if the client asks for it' },
    errors: { 400: 'a selector cannot be read' },
  },
  read: {
    tag: 'query',
    summary: 'Remote-read 1.0: samples, or streamed chunks',
    body: { types: ['application/x-protobuf'], description: 'A ReadRequest, compressed with snappy.' },
    reply: { type: 'application/x-protobuf', description: 'a ReadResponse, or frames of ChunkedReadResponse' },
    errors: { 400: 'the body cannot be read' },
  },
} as const satisfies Readonly<Record<string, Described>>;
