/**
 * The symbols of the remote-write 2.0 body that the kernel has just walked, as strings, made when they are asked for. They
 * are read out of the kernel's buffers: valid until the next body or query.
 */
import type { Kernel } from './kernel.ts';
import { RESULT_SYMBOLS, SB_IN, SB_RESULT, SYMBOL_BYTES, SYMBOL_LENGTH, SYMBOL_TEXT } from './layout.ts';

// A leading U+FEFF is a part of a name: ignoreBOM means "do not strip it".
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export class RequestSymbols {
  readonly #kernel: Kernel;
  readonly #texts = new Map<number, string | null>();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  get count(): number {
    return this.#kernel.u32[(SB_RESULT + RESULT_SYMBOLS) >>> 2]!;
  }

  /** The text of symbol i; null if it is not valid UTF-8. `i` is below `count`. */
  text(i: number): string | null {
    let text = this.#texts.get(i);
    if (text === undefined) {
      text = this.#read(i);
      this.#texts.set(i, text);
    }
    return text;
  }

  #read(i: number): string | null {
    const { u8, u32, buffer } = this.#kernel;
    const entry = u32[SB_IN >>> 2]! + i * SYMBOL_BYTES;
    const start = u32[(entry + SYMBOL_TEXT) >>> 2]!;
    const end = start + u32[(entry + SYMBOL_LENGTH) >>> 2]!;
    let at = start;
    while (at < end && u8[at]! < 0x80) at++;
    if (at === end) return buffer.toString('latin1', start, end);
    try {
      return utf8.decode(u8.subarray(start, end));
    } catch {
      return null;
    }
  }
}
