/**
 * The short way of `query` and `query_range`: the plain form of a request (a GET, or a POST of a form, from no page of a
 * browser) is answered straight from the connection (hot-connection.ts), or from Node's HTTP server. An autoscaler's question is small, so what a framework does
 * around it is a good part of the answer's time. Everything else goes the long way (prometheus.ts), with the same reply.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline, Readable } from 'node:stream';
import type { FastifyBaseLogger, FastifyInstance } from 'fastify';
import { LIMITS } from '../../model/limits.ts';
import type { Aborted } from '../../promql/eval/run.ts';
import { CHALLENGE_READ, type Guard } from '../guard.ts';
import type { Answered } from '../hot-connection.ts';
import { addShortCut, type Question, type Reply, readBody } from '../hot-route.ts';
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
      const refusal = admit(way, request);
      if (refusal !== null) {
        answered(way.url, refusal.status);
        if (refusal.isLast) response.setHeader('connection', 'close');
        send(response, refusal);
      } else if (request.method === 'GET') void serve(way, request, response, '', answered);
      else readForm(way, request, response, answered);
      return true;
    },
    ask(question) {
      if (!way.isReady()) return null;
      const refusal = admit(way, question);
      if (refusal !== null) return Promise.resolve(refusal);
      return replyTo(way, question.target, '', question.headers['accept-encoding'], question);
    },
  });
}

/** The refusal of whoever may not ask, before a body is read. */
function admit(way: ShortWay, request: IncomingMessage | Question): Reply | null {
  if (!way.guard) return null;
  try {
    way.guard.admitHttp('read', request);
    return null;
  } catch (error) {
    const { status, body } = describeFailure(error, way.log, way.url);
    const headers = {
      ...GUARDED_HEADERS,
      'www-authenticate': CHALLENGE_READ,
      'content-length': Buffer.byteLength(body),
    };
    return { status, headers, body, isLast: true };
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
  const reply = await replyTo(way, url, body, headers['accept-encoding'], {
    get aborted() {
      return response.destroyed;
    },
  });
  answered(way.url, reply.status);
  send(response, reply);
}

const HEADERS = { vary: 'Origin, Accept-Encoding', 'content-type': JSON_TYPE };
/** As guarded routes say. */
const GUARDED_HEADERS = { 'x-content-type-options': 'nosniff', ...HEADERS };

async function replyTo(
  way: ShortWay,
  url: string,
  body: string,
  accepted: string | readonly string[] | undefined,
  aborted: Aborted,
): Promise<Reply> {
  let status = 200;
  let answer: string | Readable;
  try {
    answer = bodyOfAnswer(await way.answer(formOf(url, body), aborted));
  } catch (error) {
    ({ status, body: answer } = describeFailure(error, way.log, way.url));
  }
  const headers = way.guard ? GUARDED_HEADERS : HEADERS;
  const encoding = acceptedEncoding(accepted);
  if (typeof answer !== 'string') return { status, ...streamed(answer, headers, encoding) };
  const length = Buffer.byteLength(answer);
  if (encoding === null || length < BYTES_MIN)
    return { status, headers: { ...headers, 'content-length': length }, body: answer };
  const bytes = await ENCODERS[encoding].whole(Buffer.from(answer), OPTIONS);
  return { status, headers: { ...headers, 'content-encoding': encoding, 'content-length': bytes.length }, body: bytes };
}

function streamed(
  body: Readable,
  headers: Readonly<Record<string, string>>,
  encoding: keyof typeof ENCODERS | null,
): Omit<Reply, 'status'> {
  if (encoding === null) return { headers, body };
  // A pipeline ends all of them when one ends early.
  const encoded = pipeline(body, ENCODERS[encoding].stream(OPTIONS), () => {});
  return { headers: { ...headers, 'content-encoding': encoding }, body: encoded };
}

function send(response: ServerResponse, { status, headers, body }: Reply): void {
  const isStream = body instanceof Readable;
  if (response.destroyed) {
    if (isStream) body.destroy();
    return;
  }
  // A text leaves in one piece with its head.
  response.writeHead(status, headers);
  if (isStream) pipeline(body, response, () => {});
  else response.end(body);
}
