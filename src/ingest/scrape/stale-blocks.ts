/** Stale markers as remote-write blocks: what ends a series for whoever reads it. */
import type { Labels } from '../../model/labels.ts';
import { STALE_NAN_HIGH, STALE_NAN_LOW } from '../../model/sample.ts';
import { ByteSink, closeBlock, isEmptyBlock, openBlock } from '../text/block.ts';

/** Series of one block: about a millisecond. */
export const STALE_SERIES_PER_BLOCK = 512;

/** One block with a stale marker of this time for each of the series; null if there is none. */
export function staleBlock(all: Iterable<Labels>, timestampMs: number): Uint8Array | null {
  const block = openBlock();
  const message = new ByteSink();
  const part = new ByteSink();
  for (const labels of all) {
    message.length = 0;
    for (let i = 0; i < labels.length; i += 2) writeLabel(labels[i]!, labels[i + 1]!, message, part);
    part.length = 0;
    part.bits(0x09, STALE_NAN_LOW, STALE_NAN_HIGH);
    part.int64(0x10, timestampMs);
    message.field(0x12, part.bytes, 0, part.length);
    block.field(0x0a, message.bytes, 0, message.length);
  }
  return isEmptyBlock(block) ? null : closeBlock(block);
}

function writeLabel(name: string, value: string, message: ByteSink, part: ByteSink): void {
  part.length = 0;
  for (const [tag, text] of [
    [0x0a, name],
    [0x12, value],
  ] as const) {
    const bytes = Buffer.from(text);
    part.field(tag, bytes, 0, bytes.length);
  }
  message.field(0x0a, part.bytes, 0, part.length);
}
