/**
 * The verdict on a body: which of its samples were refused. A replay takes what was taken, and judges nothing again.
 *
 * Samples that the kernel reads by itself are numbered in the order in which it judges them (kernel/assembly/verdict.ts).
 * Samples that come by labels are named by what they are, the series' label bytes and the time: so it does not matter in
 * which order, or by which cache, a decoder looks series up. A sample that conflicts with another is not noted: the first
 * one wins again.
 *
 *     { u32 bytes, a bit a sample of the kernel's } { u32 checksum of the labels, u32 another, f64 time } …
 *
 * A time of NaN stands for a series that was refused as a whole.
 */
const ENTRY_BYTES = 16;

/** Refused samples that came by labels. */
export class Refusals {
  #entries: number[] = [];
  #given: Set<string> | null = null;

  /** True while a verdict that names such samples is given. */
  get isGiven(): boolean {
    return this.#given !== null;
  }

  note(first: number, second: number, timestampMs: number): void {
    this.#entries.push(first, second, timestampMs);
  }

  refuses(first: number, second: number, timestampMs: number): boolean {
    return this.#given?.has(keyOf(first, second, timestampMs)) ?? false;
  }

  give(entries: Uint8Array): void {
    const view = new DataView(entries.buffer, entries.byteOffset, entries.byteLength);
    this.#given = entries.length === 0 ? null : new Set();
    for (let at = 0; at + ENTRY_BYTES <= entries.length; at += ENTRY_BYTES) {
      this.#given!.add(keyOf(view.getUint32(at, true), view.getUint32(at + 4, true), view.getFloat64(at + 8, true)));
    }
  }

  /** What was noted since the last call, as bytes. */
  take(): Uint8Array {
    const count = this.#entries.length / 3;
    const bytes = new Uint8Array(count * ENTRY_BYTES);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < count; i++) {
      view.setUint32(i * ENTRY_BYTES, this.#entries[i * 3]!, true);
      view.setUint32(i * ENTRY_BYTES + 4, this.#entries[i * 3 + 1]!, true);
      view.setFloat64(i * ENTRY_BYTES + 8, this.#entries[i * 3 + 2]!, true);
    }
    if (count > 0) this.#entries = [];
    return bytes;
  }
}

/** Both parts as one; empty if nothing was refused. */
export function joinVerdict(bits: Uint8Array, entries: Uint8Array): Uint8Array {
  if (bits.length === 0 && entries.length === 0) return NOTHING;
  const bytes = new Uint8Array(4 + bits.length + entries.length);
  new DataView(bytes.buffer).setUint32(0, bits.length, true);
  bytes.set(bits, 4);
  bytes.set(entries, 4 + bits.length);
  return bytes;
}

export function splitVerdict(verdict: Uint8Array): { readonly bits: Uint8Array; readonly entries: Uint8Array } {
  if (verdict.length < 4) return { bits: NOTHING, entries: NOTHING };
  const length = new DataView(verdict.buffer, verdict.byteOffset, verdict.byteLength).getUint32(0, true);
  return { bits: verdict.subarray(4, 4 + length), entries: verdict.subarray(4 + length) };
}

const NOTHING = new Uint8Array(0);

function keyOf(first: number, second: number, timestampMs: number): string {
  return `${first} ${second} ${timestampMs}`;
}
