/**
 * A small HTTP proxy between a scraper and an exporter that keeps every exposition text it served. It appends one metric of
 * its own, the number of the scrape: a query for it says which recorded text stands behind which of the scraper's timestamps.
 */
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Its value is the index into `recordings`. */
export const SCRAPE_NUMBER = 'journey_scrape_number';

export interface Recording {
  /** When the scraper's request arrived. */
  readonly requestedMs: number;
  /** What the exporter exposed, without the proxy's own line. */
  readonly text: string;
}

export interface RecordingProxy {
  /** `host:port` to scrape. */
  readonly address: string;
  readonly recordings: readonly Recording[];
  stop(): Promise<void>;
}

export async function startRecordingProxy(exporterAddress: string): Promise<RecordingProxy> {
  const recordings: Recording[] = [];
  const server = createServer((_request, response) => {
    void relay(exporterAddress, recordings, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { address: `127.0.0.1:${port}`, recordings, stop: () => stopServer(server) };
}

async function relay(exporterAddress: string, recordings: Recording[], response: ServerResponse): Promise<void> {
  const requestedMs = Date.now();
  try {
    const text = await scrape(exporterAddress);
    const number = recordings.push({ requestedMs, text }) - 1;
    response.setHeader('content-type', 'text/plain; version=0.0.4');
    response.end(`${text}# TYPE ${SCRAPE_NUMBER} gauge\n${SCRAPE_NUMBER} ${number}\n`);
  } catch (error) {
    response.writeHead(502).end(String(error));
  }
}

/** One exposition text, straight from an exporter. */
export async function scrape(address: string): Promise<string> {
  const reply = await fetch(`http://${address}/metrics`, { headers: { accept: 'text/plain' } });
  if (!reply.ok) throw new Error(`cannot scrape ${address}: got ${reply.status}`);
  return reply.text();
}

async function stopServer(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeAllConnections();
  await closed;
}
