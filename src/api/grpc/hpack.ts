/**
 * HPACK (RFC 7541): the headers of HTTP/2. Decoding is whole; encoding never uses the table that grows, so that what is
 * sent can be made once and used on every connection.
 */
import { decodeHuffman } from './huffman.ts';

export interface HeaderField {
  readonly name: string;
  /** Bytes as Latin-1. */
  readonly value: string;
}

/** A block that cannot be decoded: nothing that comes after it on the connection can be, either. */
export class HpackError extends Error {}

/** Bytes of the table that grows: what a peer may use without being told anything. */
const TABLE_BYTES_MAX = 4096;
/** What an entry counts besides its characters (section 4.1). */
const ENTRY_BYTES = 32;
/** No integer of a header can be as large as this. */
const INTEGER_MAX = 2 ** 24;

export class HpackDecoder {
  readonly #listBytesMax: number;
  /** Newest first. */
  readonly #table: HeaderField[] = [];
  #tableBytes = 0;
  #tableBytesMax = TABLE_BYTES_MAX;
  #changes = 0;
  #block: Uint8Array = Buffer.alloc(0);
  #at = 0;

  constructor(listBytesMax: number) {
    this.#listBytesMax = listBytesMax;
  }

  /** Counts up whenever a block changed the table: until then, equal blocks mean the same. */
  get changes(): number {
    return this.#changes;
  }

  /** Throws `HpackError`. */
  decode(block: Uint8Array): readonly HeaderField[] {
    this.#block = block;
    this.#at = 0;
    const fields: HeaderField[] = [];
    let listBytes = 0;
    while (this.#at < block.length) {
      const field = this.#field(block[this.#at]!, fields.length > 0);
      if (field === null) continue;
      listBytes += sizeOf(field);
      if (listBytes > this.#listBytesMax) throw new HpackError(`more than ${this.#listBytesMax} bytes of headers`);
      fields.push(field);
    }
    return fields;
  }

  /** One representation (section 6); null for a change of the table's size. */
  #field(first: number, isAfterFields: boolean): HeaderField | null {
    if (first >= 0x80) return this.#entry(this.#integer(7));
    if (first >= 0x40) {
      const field = this.#literal(6);
      this.#insert(field);
      return field;
    }
    if (first < 0x20) return this.#literal(4);
    const bytesMax = this.#integer(5);
    if (isAfterFields || bytesMax > TABLE_BYTES_MAX) throw new HpackError('a table size where none may be');
    this.#changes++;
    this.#tableBytesMax = bytesMax;
    this.#evict(0);
    return null;
  }

  #literal(prefixBits: number): HeaderField {
    const index = this.#integer(prefixBits);
    const name = index === 0 ? this.#string() : this.#entry(index).name;
    return { name, value: this.#string() };
  }

  #entry(index: number): HeaderField {
    const field = index < STATIC_TABLE.length ? STATIC_TABLE[index] : this.#table[index - STATIC_TABLE.length];
    if (index === 0 || field === undefined) throw new HpackError(`no entry ${index}`);
    return field;
  }

  #insert(field: HeaderField): void {
    this.#changes++;
    const bytes = sizeOf(field);
    this.#evict(bytes);
    // One that is larger than the table empties it, and is not kept (section 4.4).
    if (bytes > this.#tableBytesMax) return;
    this.#table.unshift(field);
    this.#tableBytes += bytes;
  }

  #evict(roomBytes: number): void {
    while (this.#table.length > 0 && this.#tableBytes + roomBytes > this.#tableBytesMax) {
      this.#tableBytes -= sizeOf(this.#table.pop()!);
    }
  }

  #integer(prefixBits: number): number {
    const max = (1 << prefixBits) - 1;
    let value = this.#byte() & max;
    if (value < max) return value;
    for (let shift = 0; ; shift += 7) {
      const byte = this.#byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (value > INTEGER_MAX || shift > 28) throw new HpackError('an integer that is too large');
      if (byte < 0x80) return value;
    }
  }

  #string(): string {
    const isCoded = this.#at < this.#block.length && this.#block[this.#at]! >= 0x80;
    const length = this.#integer(7);
    const end = this.#at + length;
    if (end > this.#block.length) throw new HpackError('a string that is cut');
    const bytes = this.#block.subarray(this.#at, end);
    this.#at = end;
    const plain = isCoded ? decodeHuffman(bytes) : bytes;
    if (plain === null) throw new HpackError('a string that is not coded as it should be');
    return Buffer.from(plain.buffer, plain.byteOffset, plain.length).toString('latin1');
  }

  #byte(): number {
    const byte = this.#block[this.#at++];
    if (byte === undefined) throw new HpackError('a block that is cut');
    return byte;
  }
}

/** A block of literal fields that enters no table (section 6.2.2); names in lower case. */
export function encodeHeaders(fields: readonly HeaderField[]): Buffer {
  return Buffer.concat(
    fields.flatMap(({ name, value }) => {
      const index = STATIC_TABLE.findIndex((entry) => entry.name === name && entry.value === value);
      if (index > 0) return [Buffer.from([0x80 | index])];
      return [Buffer.from([0]), encodeString(name), encodeString(value)];
    }),
  );
}

function encodeString(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1');
  const length = [Math.min(bytes.length, 127)];
  if (bytes.length >= 127) {
    let rest = bytes.length - 127;
    for (; rest >= 128; rest >>>= 7) length.push((rest & 0x7f) | 0x80);
    length.push(rest);
  }
  return Buffer.concat([Buffer.from(length), bytes]);
}

function sizeOf({ name, value }: HeaderField): number {
  return name.length + value.length + ENTRY_BYTES;
}

/** Appendix A; entry 0 does not exist. */
const STATIC_TABLE: readonly HeaderField[] = (
  `|:authority|:method GET|:method POST|:path /|:path /index.html|:scheme http|:scheme https|:status 200|:status 204|` +
  `:status 206|:status 304|:status 400|:status 404|:status 500|accept-charset|accept-encoding gzip, deflate|` +
  `accept-language|accept-ranges|accept|access-control-allow-origin|age|allow|authorization|cache-control|` +
  `content-disposition|content-encoding|content-language|content-length|content-location|content-range|content-type|` +
  `cookie|date|etag|expect|expires|from|host|if-match|if-modified-since|if-none-match|if-range|if-unmodified-since|` +
  `last-modified|link|location|max-forwards|proxy-authenticate|proxy-authorization|range|referer|refresh|retry-after|` +
  `server|set-cookie|strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate`
)
  .split('|')
  .map((entry) => {
    const space = entry.indexOf(' ');
    return space < 0 ? { name: entry, value: '' } : { name: entry.slice(0, space), value: entry.slice(space + 1) };
  });
