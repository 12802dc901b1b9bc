/**
 * The description of the web port's API as OpenAPI, made from the schemas of its routes, and the page that shows it.
 *
 * Schemas describe and do nothing else: requests are read by their routes, whose errors and forms are the protocols' own.
 */
import swagger from '@fastify/swagger';
import type { FastifyInstance, FastifySchema } from 'fastify';
import { OPENAPI_PAGE_HEADERS, openApiPage } from './openapi-page.ts';

/** A JSON schema. */
export type Schema = Readonly<Record<string, unknown>>;

export interface Parameter {
  readonly description: string;
  readonly schema?: Schema;
  readonly isRequired?: boolean;
  /** Shown, and asked by the test that compares replies with their schemas. */
  readonly example?: string;
}

export interface Described {
  readonly tag: Tag;
  readonly summary: string;
  readonly description?: string;
  /** Of the query string, or of a form in the body of a POST. */
  readonly parameters?: Readonly<Record<string, Parameter>>;
  /** Of the path. */
  readonly path?: Readonly<Record<string, Parameter>>;
  /** Media types of a body and what it is. */
  readonly body?: { readonly types: readonly string[]; readonly description: string };
  /** Of the reply of 200: the schema of JSON, or what another media type holds. */
  readonly reply: Schema | { readonly type: string; readonly description: string };
  /** What 200 is instead. */
  readonly status?: 200 | 204;
  /** By status: when. */
  readonly errors?: Readonly<Record<number, string>>;
}

const FORM = 'application/x-www-form-urlencoded';
const TAGS = {
  query: 'PromQL and the index: the HTTP API of Prometheus',
  status: 'What the daemon is and holds',
  write: 'Where senders send',
  scale: 'What autoscalers are told, and why',
  memstore: "REST of Kedify's OTel scaler",
  operation: 'Health and own metrics',
} as const;
export type Tag = keyof typeof TAGS;

export const TEXT: Schema = { type: 'string' };
export const NUMBER: Schema = { type: 'number' };
export const BOOLEAN: Schema = { type: 'boolean' };
export const STRINGS: Schema = { type: 'array', items: TEXT };
/** A map of texts, as label sets are. */
export const LABELS: Schema = { type: 'object', additionalProperties: TEXT };

export function listOf(items: Schema): Schema {
  return { type: 'array', items };
}

/** An object with all of these keys; others may come beside them. */
export function objectOf(properties: Readonly<Record<string, Schema>>): Schema {
  return { type: 'object', required: Object.keys(properties), properties };
}

export function nullable(schema: Schema): Schema {
  return { anyOf: [schema, { type: 'null' }] };
}

/** Makes the schema of a route; that of a POST with parameters takes them as a form. */
export function described(route: Described, method = 'GET'): FastifySchema {
  const { tag, summary, description, parameters, path, body, reply, status = 200, errors } = route;
  const takesForm = method === 'POST' && parameters !== undefined && body === undefined;
  const isText = 'type' in reply && 'description' in reply && String(reply.type).includes('/');
  const content = isText ? { [String(reply.type)]: { schema: TEXT } } : { 'application/json': { schema: reply } };
  const ok = {
    description: isText ? String(reply.description) : 'as asked',
    ...(status === 204 ? { type: 'null' } : { content }),
  };
  const failures = Object.entries(errors ?? {}).map(([code, when]) => [code, { description: when, type: 'null' }]);
  return {
    tags: [tag],
    summary,
    ...(description === undefined ? {} : { description }),
    ...(parameters === undefined || takesForm ? {} : { querystring: parameterSchema(parameters) }),
    ...(path === undefined ? {} : { params: parameterSchema(path) }),
    ...(takesForm ? { consumes: [FORM], body: parameterSchema(parameters) } : {}),
    ...(body === undefined ? {} : { consumes: body.types, body: { type: 'string', description: body.description } }),
    response: { [status]: ok, ...Object.fromEntries(failures) },
  } as FastifySchema;
}

function parameterSchema(parameters: Readonly<Record<string, Parameter>>): Schema {
  const properties = Object.entries(parameters).map(([name, { description, schema = TEXT, example }]) => [
    name,
    { ...schema, description, ...(example === undefined ? {} : { examples: [example] }) },
  ]);
  const required = Object.keys(parameters).filter((name) => parameters[name]!.isRequired === true);
  return { type: 'object', required, properties: Object.fromEntries(properties) };
}

const JSON_URL = '/openapi.json';
const PAGE_URL = '/openapi';

/** To be awaited before the first route is added: a route that is there already is not described. */
export async function registerOpenApi(app: FastifyInstance, version: string): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Tidegauge', version, license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
      tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    },
    hideUntagged: true,
  });
  let made: { readonly json: string; readonly page: string } | null = null;
  const make = () => {
    const document = app.swagger();
    return { json: JSON.stringify(document), page: openApiPage(document as object) };
  };
  app.get(JSON_URL, async (_request, reply) => {
    made ??= make();
    return reply.type('application/json; charset=utf-8').send(made.json);
  });
  app.get(PAGE_URL, async (_request, reply) => {
    made ??= make();
    return reply.headers(OPENAPI_PAGE_HEADERS).type('text/html; charset=utf-8').send(made.page);
  });
}
