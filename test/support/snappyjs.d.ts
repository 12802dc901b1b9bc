/** npm's snappyjs comes without types; the tests use it to compress, and to read what they compressed. */
declare module 'snappyjs' {
  export function compress(uncompressed: Uint8Array): Uint8Array;
  export function uncompress(compressed: Uint8Array, maxLength?: number): Uint8Array;
}
