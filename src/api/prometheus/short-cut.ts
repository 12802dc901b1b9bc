/**
 * The short way of `query` and `query_range`: the plain form of a request (a GET, or a POST of a form, from no page of a
 * browser) is answered straight from Node's HTTP server. An autoscaler's question is small, so what a framework does
 * around it is a good part of the answer's time. Everything else goes the long way (prometheus.ts), with the same reply.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline, type Readable } from 'node:stream';
import type { FastifyBaseLogger, FastifyInstance } from 'fastify';
import { LIMITS } from '../../model/limits.ts';
import type { Aborted } from '../../promql/eval/run.ts';
import { CHALLENGE_READ, type Guard } from '../guard.ts';
import type { Answered } from '../hot-connection.ts';
import { addShortCut, readBody } from '../hot-route.ts';
import { FORM, formOf } from '../http.ts';
import { acceptedEncoding, BYTES_MIN, ENCODERS, OPTIONS } from './compression.ts';
import { type Answer, bodyOfAnswer, describeFailure, JSON_TYPE } from './envelope.ts';

export interface ShortWay {
  readonly url: string;
  readonly isReady: () => boolean;
  /** Who may ask; everybody, if absent. */
  readonly guard?: Guard | null;
  readonly log: Pick<FastifyBaseLogger, 'error'>;
  answer(form: URLSearchParams, aborted: Aborted): Promise<Answer>;
}

export function addShortWay(app: FastifyInstance, way: ShortWay): void {
  addShortCut(app, {
    url: way.url,
    take(request, response, answered) {
      if (!way.isReady() || !isPlain(request)) return false;
      if (!admit(way, request, response, answered)) return true;
      if (request.method === 'GET') void serve(way, request, response, '', answered);
      else readForm(way, request, response, answered);
      return true;
    },
  });
}

/** False for whoever may not ask, and is told so, before a body is read. */
function admit(way: ShortWay, request: IncomingMessage, response: ServerResponse, answered: Answered): boolean {
  if (!way.guard) return true;
  // As guarded routes say.
  response.setHeader('x-content-type-options', 'nosniff');
  try {
    way.guard.admitHttp('read', request);
    return true;
  } catch (error) {
    const { status, body } = describeFailure(error, way.log, way.url);
    response.setHeader('www-authenticate', CHALLENGE_READ);
    response.setHeader('connection', 'close');
    answered(way.url, status);
    void send(response, status, body, request.headers['accept-encoding']);
    return false;
  }
}

function isPlain({ method, headers }: IncomingMessage): boolean {
  if (headers.origin !== undefined || headers['transfer-encoding'] !== undefined) return false;
  const length = headers['content-length'];
  if (method === 'GET') return length === undefined;
  if (method !== 'POST' || length === undefined || headers['content-type'] !== FORM) return false;
  return Number(length) <= LIMITS.formBodyBytesMax;
}

function readForm(way: ShortWay, request: IncomingMessage, response: ServerResponse, answered: Answered): void {
  // Without a listener the end of a connection in the middle of a body would be the end of the process.
  request.on('error', () => {});
  readBody(request, LIMITS.formBodyBytesMax, (body) => {
    // Never null: the length was looked at before.
    const text = body === null ? '' : Buffer.from(body.buffer, body.byteOffset, body.length).toString();
    void serve(way, request, response, text, answered);
  });
}

async function serve(
  way: ShortWay,
  { url = '', headers }: IncomingMessage,
  response: ServerResponse,
  body: string,
  answered: Answered,
): Promise<void> {
  const aborted = {
    get aborted() {
      return response.destroyed;
    },
  };
  try {
    const answer = await way.answer(formOf(url, body), aborted);
    answered(way.url, 200);
    await send(response, 200, bodyOfAnswer(answer), headers['accept-encoding']);
  } catch (error) {
    const { status, body } = describeFailure(error, way.log, way.url);
    answered(way.url, status);
    await send(response, status, body, headers['accept-encoding']);
  }
}

const HEADERS = { vary: 'Origin, Accept-Encoding', 'content-type': JSON_TYPE };

/** The reply, compressed where the client takes it and it is worth it. */
async function send(
  response: ServerResponse,
  status: number,
  body: string | Readable,
  accepted: string | readonly string[] | undefined,
): Promise<void> {
  if (response.destroyed) return;
  const encoding = acceptedEncoding(accepted);
  if (typeof body !== 'string') {
    response.writeHead(status, encoding === null ? HEADERS : { ...HEADERS, 'content-encoding': encoding });
    // A pipeline ends all of them when one ends early.
    if (encoding === null) pipeline(body, response, () => {});
    else pipeline(body, ENCODERS[encoding].stream(OPTIONS), response, () => {});
    return;
  }
  const length = Buffer.byteLength(body);
  if (encoding === null || length < BYTES_MIN) {
    // A text leaves in one piece with its head.
    response.writeHead(status, { ...HEADERS, 'content-length': length }).end(body);
    return;
  }
  const bytes = await ENCODERS[encoding].whole(Buffer.from(body), OPTIONS);
  response.writeHead(status, { ...HEADERS, 'content-encoding': encoding, 'content-length': bytes.length }).end(bytes);
}
