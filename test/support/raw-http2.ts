/** HTTP/2 by hand: a client that sends whatever frames a test likes, well-formed or not, and keeps what comes back. */
import { connect, type Socket } from 'node:net';
import { waitFor } from './wait.ts';

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

export function frame(type: number, flags: number, stream: number, payload: Uint8Array | string = ''): Buffer {
  const body = Buffer.from(payload as string);
  const head = Buffer.alloc(9);
  head.writeUIntBE(body.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, body]);
}

/** Literal fields, in no table and without Huffman. */
export function headers(fields: Readonly<Record<string, string>>): Buffer {
  const text = (value: string) => {
    if (value.length < 127) return Buffer.concat([Buffer.from([value.length]), Buffer.from(value, 'latin1')]);
    const rest = value.length - 127;
    const length = rest < 128 ? [127, rest] : [127, (rest & 127) | 128, rest >> 7];
    return Buffer.concat([Buffer.from(length), Buffer.from(value, 'latin1')]);
  };
  return Buffer.concat(Object.entries(fields).flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]));
}

export class RawHttp2 {
  readonly frames: Frame[] = [];
  readonly socket: Socket;
  isClosed = false;
  #rest = Buffer.alloc(0);

  constructor(address: string) {
    const [host, port] = address.split(':');
    this.socket = connect({ host: host!, port: Number(port), noDelay: true });
    this.socket.on('data', (bytes) => this.#take(bytes));
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.isClosed = true;
    });
  }

  /** Preface and settings; the peer's own have come by then. */
  async open(settings: readonly (readonly [number, number])[] = []): Promise<this> {
    const payload = Buffer.alloc(6 * settings.length);
    settings.forEach(([setting, value], i) => {
      payload.writeUInt16BE(setting, 6 * i);
      payload.writeUInt32BE(value, 6 * i + 2);
    });
    this.write(Buffer.from(PREFACE), frame(4, 0, 0, payload));
    await this.until('settings', () => this.frames.some(({ type, flags }) => type === 4 && flags === 1));
    return this;
  }

  write(...frames: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(frames));
  }

  async until(what: string, holds: () => boolean): Promise<void> {
    await waitFor(holds, { timeoutMs: 10_000, what });
  }

  of(type: number, stream?: number): readonly Frame[] {
    return this.frames.filter((one) => one.type === type && (stream === undefined || one.stream === stream));
  }

  /** The reason of the GOAWAY that ended the connection. */
  async goneAway(): Promise<{ readonly code: number; readonly text: string }> {
    await this.until('the connection to be closed', () => this.isClosed);
    const payload = this.of(7)[0]?.payload ?? Buffer.alloc(8);
    return { code: payload.readUInt32BE(4), text: payload.toString('latin1', 8) };
  }

  close(): void {
    this.socket.destroy();
  }

  #take(bytes: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    for (;;) {
      const rest = this.#rest;
      if (rest.length < 9) return;
      const length = rest.readUIntBE(0, 3);
      if (rest.length < 9 + length) return;
      const payload = rest.subarray(9, 9 + length);
      this.frames.push({ type: rest[3]!, flags: rest[4]!, stream: rest.readUInt32BE(5), payload });
      this.#rest = rest.subarray(9 + length);
    }
  }
}
