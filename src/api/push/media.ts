/** Media types and bodies of the push routes. */
import type { FastifyInstance } from 'fastify';

export interface MediaType {
  /** `application/x-protobuf`, in lower case; '' if there is none. */
  readonly type: string;
  readonly parameters: ReadonlyMap<string, string>;
}

/** Splits a Content-Type at its semicolons. */
export function parseMediaType(header: string | undefined): MediaType {
  const [type = '', ...rest] = (header ?? '').split(';').map((part) => part.trim());
  const parameters = new Map<string, string>();
  for (const part of rest) {
    const equals = part.indexOf('=');
    if (equals > 0)
      parameters.set(
        part.slice(0, equals).trim().toLowerCase(),
        part
          .slice(equals + 1)
          .trim()
          .replace(/^"(.*)"$/, '$1'),
      );
  }
  return { type: type.toLowerCase(), parameters };
}

/** Content-Encoding in lower case; '' if there is none. */
export function encodingOf(header: string | undefined): string {
  return (header ?? '').trim().toLowerCase();
}

/** Makes every body of these routes arrive as the bytes that were sent, whatever its type. */
export function takeRawBodies(scope: FastifyInstance, bodyLimit: number): void {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit }, (_request, body, done) => done(null, body));
}

/** The raw body of a request; a request without one has an empty one. */
export function rawBody(body: unknown): Uint8Array {
  return body instanceof Uint8Array ? body : new Uint8Array(0);
}
