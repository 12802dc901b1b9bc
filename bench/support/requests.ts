/**
 * The load's remote-write 1.0 bodies as 2.0 bodies: the same series and samples in the same order, symbols instead of
 * strings, and metadata with every series, as Prometheus sends it.
 */
import protobuf from 'protobufjs/minimal.js';
import snappy from 'snappy';
import { tag } from '../../test/support/remote-write-encoder.ts';
import type { Round } from './load.ts';

const COUNTER = 1;

export function asRequests(round: Round): Round {
  const sendings = round.sendings.map(({ body, connection }) => ({ connection, body: asRequest(body) }));
  return { ...round, sendings };
}

function asRequest(body: Uint8Array): Uint8Array {
  const plain = snappy.uncompressSync(Buffer.from(body), { copyOutputData: true }) as Buffer;
  const numbers = new Map([['', 0]]);
  const symbols = protobuf.Writer.create().uint32(tag(4, 2)).string('');
  const number = (text: string): number => {
    const known = numbers.get(text);
    if (known !== undefined) return known;
    numbers.set(text, numbers.size);
    symbols.uint32(tag(4, 2)).string(text);
    return numbers.size - 1;
  };
  const series = protobuf.Writer.create();
  const reader = protobuf.Reader.create(plain);
  while (reader.pos < reader.len) {
    reader.uint32();
    writeTimeSeries(series, reader, reader.uint32() + reader.pos, number);
  }
  const request = Buffer.concat([symbols.finish(), series.finish()]);
  return snappy.compressSync(request, { copyOutputData: true });
}

function writeTimeSeries(
  writer: protobuf.Writer,
  reader: protobuf.Reader,
  end: number,
  number: (text: string) => number,
): void {
  const refs: number[] = [];
  let name = '';
  let sample: Uint8Array = new Uint8Array(0);
  while (reader.pos < end) {
    if (reader.uint32() >>> 3 !== 1) {
      sample = reader.bytes();
      continue;
    }
    reader.uint32();
    reader.uint32();
    const label = reader.string();
    reader.uint32();
    const value = reader.string();
    if (label === '__name__') name = value;
    refs.push(number(label), number(value));
  }
  writer.uint32(tag(5, 2)).fork().uint32(tag(1, 2)).fork();
  for (const ref of refs) writer.uint32(ref);
  writer.ldelim().uint32(tag(2, 2)).bytes(sample);
  writer.uint32(tag(5, 2)).fork().uint32(tag(1, 0)).int32(COUNTER);
  writer
    .uint32(tag(3, 0))
    .uint32(number(`What ${name} counts.`))
    .ldelim()
    .ldelim();
}
