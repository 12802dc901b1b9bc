/** A small HTTPS client for tests: exact paths and headers in, everything that came back out. */
import type { IncomingHttpHeaders } from 'node:http';
import { request as send } from 'node:https';

export interface HttpsReply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

export interface HttpsRequest {
  readonly path: string;
  readonly method?: string;
  /** A list sends the header several times. */
  readonly headers?: Readonly<Record<string, string | string[]>>;
  readonly body?: string;
}

/** A certificate of the client's own. */
export interface ClientCertificate {
  readonly certPem: string;
  readonly keyPem: string;
}

export type HttpsClient = (request: HttpsRequest) => Promise<HttpsReply>;

/** A function that sends one request at a time to host:port, trusting only this CA. */
export function httpsClient(address: string, caPem: string, own: ClientCertificate | null = null): HttpsClient {
  const url = new URL(`https://${address}`);
  const hostname = url.hostname.replace(/^\[|\]$/g, '');
  const { port } = url;
  const certificate = own === null ? {} : { cert: own.certPem, key: own.keyPem };
  return ({ path, method = 'GET', headers = {}, body }) =>
    new Promise((resolve, reject) => {
      const options = { hostname, port, path, method, headers, ca: caPem, agent: false as const, ...certificate };
      const request = send(options, (response) => {
        const chunks: Buffer[] = [];
        const done = () => {
          const text = Buffer.concat(chunks).toString('utf8');
          resolve({ status: response.statusCode!, headers: response.headers, text });
        };
        // A watch has no end: its first event is all that is waited for.
        const isWatch = response.headers['content-type']?.includes('stream=watch') ?? false;
        response.on('data', (chunk: Buffer) => {
          chunks.push(chunk);
          if (!isWatch) return;
          done();
          request.destroy();
        });
        response.on('end', done);
        response.on('error', reject);
      });
      request.on('error', reject);
      request.end(body);
    });
}
