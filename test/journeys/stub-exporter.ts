/**
 * An exporter whose every scrape is known: a counter with an exemplar, a gauge, and a native histogram, all functions of the
 * number of the scrape. Prometheus' protobuf format to who takes it, which alone carries native histograms; text to others.
 * Source of the messages: prometheus/client_model, io/prometheus/client/metrics.proto.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import protobuf from 'protobufjs/minimal.js';
import { long, tag } from '../support/remote-write-encoder.ts';

/** Its value is the number of the scrape; all other values follow from it. */
export const NUMBER = 'journey_scrape_number';
export const COUNTER = 'journey_requests_total';
export const HISTOGRAM = 'journey_seconds';
export const COUNTER_HELP = 'Requests of the journey.';

export function counterAt(number: number): number {
  return 7 * number + 0.5;
}

/** Schema 0: one observation in (0.5, 1] a scrape, two in (1, 2], one in (4, 8], and one at zero. */
export function histogramAt(number: number) {
  return { count: 5 * number, sum: 10.25 * number, zero: number, buckets: [number, 2 * number, number] as const };
}

export function traceAt(number: number): string {
  return `trace${number}`;
}

export interface StubExporter {
  readonly address: string;
  /** Scrapes in protobuf so far. */
  protobufScrapes(): number;
  stop(): Promise<void>;
}

export async function startStubExporter(): Promise<StubExporter> {
  let number = 0;
  let protobufScrapes = 0;
  const server = createServer((request, response) => {
    number++;
    if (request.headers.accept?.includes('application/vnd.google.protobuf')) {
      protobufScrapes++;
      response.setHeader(
        'content-type',
        'application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited',
      );
      response.end(encodeFamilies(number));
    } else {
      response.setHeader('content-type', 'text/plain; version=0.0.4');
      response.end(
        `# TYPE ${NUMBER} gauge\n${NUMBER} ${number}\n` +
          `# HELP ${COUNTER} ${COUNTER_HELP}\n# TYPE ${COUNTER} counter\n${COUNTER} ${counterAt(number)}\n`,
      );
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    protobufScrapes: () => protobufScrapes,
    stop: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

const TYPE = { counter: 0, gauge: 1, histogram: 4 } as const;

function encodeFamilies(number: number): Buffer {
  const writer = protobuf.Writer.create();
  writeFamily(writer, NUMBER, 'Number of the scrape.', TYPE.gauge, (metric) => {
    metric.uint32(tag(2, 2)).fork().uint32(tag(1, 1)).double(number).ldelim();
  });
  writeFamily(writer, COUNTER, COUNTER_HELP, TYPE.counter, (metric) => {
    metric.uint32(tag(3, 2)).fork().uint32(tag(1, 1)).double(counterAt(number));
    writeExemplar(metric.uint32(tag(2, 2)).fork(), number);
    metric.ldelim().ldelim();
  });
  writeFamily(writer, HISTOGRAM, 'A native histogram.', TYPE.histogram, (metric) => {
    writeHistogram(metric.uint32(tag(7, 2)).fork(), number);
    metric.ldelim();
  });
  return Buffer.from(writer.finish());
}

function writeFamily(
  writer: protobuf.Writer,
  name: string,
  help: string,
  type: number,
  writeMetric: (writer: protobuf.Writer) => void,
): void {
  writer.fork().uint32(tag(1, 2)).string(name).uint32(tag(2, 2)).string(help).uint32(tag(3, 0)).int32(type);
  writer.uint32(tag(4, 2)).fork();
  writeMetric(writer);
  writer.ldelim().ldelim();
}

function writeExemplar(writer: protobuf.Writer, number: number): void {
  writer
    .uint32(tag(1, 2))
    .fork()
    .uint32(tag(1, 2))
    .string('trace_id')
    .uint32(tag(2, 2))
    .string(traceAt(number))
    .ldelim();
  writer.uint32(tag(2, 1)).double(number);
  const nowMs = Date.now();
  writer
    .uint32(tag(3, 2))
    .fork()
    .uint32(tag(1, 0))
    .int64(long(BigInt(Math.floor(nowMs / 1000))));
  writer
    .uint32(tag(2, 0))
    .int32((nowMs % 1000) * 1e6)
    .ldelim();
}

function writeHistogram(writer: protobuf.Writer, number: number): void {
  const { count, sum, zero, buckets } = histogramAt(number);
  writer
    .uint32(tag(1, 0))
    .uint64(long(BigInt(count)))
    .uint32(tag(2, 1))
    .double(sum);
  writer
    .uint32(tag(5, 0))
    .sint32(0)
    .uint32(tag(6, 1))
    .double(0.001)
    .uint32(tag(7, 0))
    .uint64(long(BigInt(zero)));
  // Buckets 0 and 1, and 3 behind a gap of one.
  for (const [offset, length] of [
    [0, 2],
    [1, 1],
  ] as const) {
    writer.uint32(tag(12, 2)).fork().uint32(tag(1, 0)).sint32(offset).uint32(tag(2, 0)).uint32(length).ldelim();
  }
  let previous = 0;
  for (const bucket of buckets) {
    writer.uint32(tag(13, 0)).sint64(bucket - previous);
    previous = bucket;
  }
}
