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
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** A function that sends one request at a time to host:port, trusting only this CA. */
export function httpsClient(address: string, caPem: string): (request: HttpsRequest) => Promise<HttpsReply> {
  const url = new URL(`https://${address}`);
  const hostname = url.hostname.replace(/^\[|\]$/g, '');
  const { port } = url;
  return ({ path, method = 'GET', headers = {}, body }) =>
    new Promise((resolve, reject) => {
      const options = { hostname, port, path, method, headers, ca: caPem, agent: false as const };
      const request = send(options, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => {
          resolve({
            status: response.statusCode!,
            headers: response.headers,
            text: Buffer.concat(chunks).toString('utf8'),
          });
        });
        response.on('error', reject);
      });
      request.on('error', reject);
      request.end(body);
    });
}
