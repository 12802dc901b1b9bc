/** An exporter whose every answer the test decides, and who remembers what it was asked. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type ServerOptions } from 'node:https';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';

export type Answer = (request: IncomingMessage, response: ServerResponse) => void;

export interface TestExporter {
  readonly port: number;
  /** `host:port` */
  readonly address: string;
  readonly requests: readonly IncomingMessage[];
  answer: Answer;
  stop(): Promise<void>;
}

export const OPEN_METRICS = 'application/openmetrics-text; version=1.0.0; charset=utf-8';

/** Answers this text. */
export function text(body: string, contentType = 'text/plain; version=0.0.4'): Answer {
  return (_request, response) => {
    response.setHeader('content-type', contentType);
    response.end(body);
  };
}

export function gzipped(body: string): Answer {
  return (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/plain', 'content-encoding': 'gzip' });
    response.end(gzipSync(body));
  };
}

/** Takes the request and never answers. */
export const silent: Answer = () => undefined;

export async function startExporter(answer: Answer, tls: ServerOptions | null = null): Promise<TestExporter> {
  const requests: IncomingMessage[] = [];
  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    requests.push(request);
    exporter.answer(request, response);
  };
  const server = tls === null ? createServer(handle) : createTlsServer(tls, handle);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const exporter: TestExporter = {
    port,
    address: `127.0.0.1:${port}`,
    requests,
    answer,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return exporter;
}
