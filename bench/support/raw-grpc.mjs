/**
 * A gRPC client for load: HTTP/2 frames by hand on one socket, a few microseconds a call, so that what is measured is the
 * server. It takes replies for good as they come: a call without a message in its reply has failed.
 */
import { connect } from 'node:net';

const FRAME = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goaway: 7, windowUpdate: 8 };
const FRAME_HEAD_BYTES = 9;
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');
const WINDOW_BYTES_DEFAULT = 65_535;
const WINDOW_BYTES_MAX = 2 ** 31 - 1;
const OPEN_CALLS_MAX = 5000;

export class RawGrpc {
  #socket;
  #headers;
  #nextStream = 1;
  /** By stream: what hears its messages, and its end. */
  #calls = new Map();
  #queue = [];
  #window = WINDOW_BYTES_DEFAULT;
  #rest = null;
  #out = [];

  /** Resolves to a client of one method, once the server has said hello. */
  static async open(address, path) {
    const client = new RawGrpc();
    await client.#open(address, path);
    return client;
  }

  /** The reply's message, or null for a call that failed. */
  call(message) {
    return new Promise((resolve) => {
      let reply = null;
      const onMessage = (bytes) => {
        reply = bytes;
      };
      this.stream(message, onMessage, () => resolve(reply));
    });
  }

  /** A call whose reply may be many messages; each must lie in one frame. */
  stream(message, onMessage, onEnd) {
    this.#queue.push({ message, onMessage, onEnd });
    this.#send();
  }

  close() {
    this.#socket.destroy();
    for (const { onEnd } of this.#calls.values()) onEnd();
    this.#calls.clear();
  }

  #open(address, path) {
    const [host, port] = address.split(':');
    this.#headers = Buffer.concat([
      literal(':method', 'POST'),
      literal(':scheme', 'http'),
      literal(':path', path),
      literal(':authority', address),
      literal('te', 'trailers'),
      literal('content-type', 'application/grpc'),
    ]);
    this.#socket = connect({ host, port: Number(port), noDelay: true });
    this.#socket.on('data', (bytes) => this.#take(bytes));
    const more = Buffer.alloc(4);
    more.writeUInt32BE(WINDOW_BYTES_MAX - WINDOW_BYTES_DEFAULT);
    this.#write(PREFACE, frame(FRAME.settings, 0, 0, Buffer.alloc(0)), frame(FRAME.windowUpdate, 0, 0, more));
    return new Promise((resolve, reject) => {
      this.onHello = resolve;
      this.#socket.once('error', reject);
    });
  }

  #send() {
    while (this.#queue.length > 0 && this.#calls.size < OPEN_CALLS_MAX) {
      const { message } = this.#queue[0];
      const body = Buffer.alloc(5 + message.length);
      if (body.length > this.#window) return;
      body.writeUInt32BE(message.length, 1);
      body.set(message, 5);
      this.#window -= body.length;
      const stream = this.#nextStream;
      this.#nextStream += 2;
      this.#calls.set(stream, this.#queue.shift());
      this.#write(frame(FRAME.headers, 4, stream, this.#headers), frame(FRAME.data, 1, stream, body));
    }
  }

  /** What one turn has to say goes out together. */
  #write(...frames) {
    if (this.#out.length === 0) {
      setImmediate(() => {
        this.#socket.write(Buffer.concat(this.#out));
        this.#out = [];
      });
    }
    this.#out.push(...frames);
  }

  #take(chunk) {
    const bytes = this.#rest === null ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (bytes.length - at >= FRAME_HEAD_BYTES) {
      const from = at + FRAME_HEAD_BYTES;
      const end = from + bytes.readUIntBE(at, 3);
      if (bytes.length < end) break;
      this.#frame(bytes[at + 3], bytes[at + 4], bytes.readUInt32BE(at + 5), bytes.subarray(from, end));
      at = end;
    }
    this.#rest = at === bytes.length ? null : bytes.subarray(at);
    this.#send();
  }

  #frame(type, flags, stream, payload) {
    const call = this.#calls.get(stream);
    if (type === FRAME.data && payload.length > 5) call?.onMessage(payload.subarray(5));
    const isEnd = (type === FRAME.data || type === FRAME.headers) && (flags & 1) !== 0;
    if (call !== undefined && (isEnd || type === FRAME.reset)) {
      this.#calls.delete(stream);
      call.onEnd();
    }
    if (type === FRAME.settings && flags === 0) {
      this.#write(frame(FRAME.settings, 1, 0, Buffer.alloc(0)));
      this.onHello();
    } else if (type === FRAME.ping && flags === 0) this.#write(frame(FRAME.ping, 1, 0, payload));
    else if (type === FRAME.windowUpdate && stream === 0) this.#window += payload.readUInt32BE(0);
    else if (type === FRAME.goaway) throw new Error(`the server ends the connection: ${payload.subarray(8)}`);
  }
}

function frame(type, flags, stream, payload) {
  const bytes = Buffer.allocUnsafe(FRAME_HEAD_BYTES + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(stream, 5);
  bytes.set(payload, FRAME_HEAD_BYTES);
  return bytes;
}

/** A header in no table. */
function literal(name, value) {
  return Buffer.concat([
    Buffer.from([0, name.length]),
    Buffer.from(name),
    Buffer.from([value.length]),
    Buffer.from(value),
  ]);
}
