/**
 * A network that goes wrong between two programs: it passes bytes on, and as it is told delays them, keeps them, drips them, or
 * breaks connections. What is told holds for connections that are open, too.
 */

import type { AddressInfo } from 'node:net';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

export type Toxic =
  | { readonly kind: 'none' }
  /** Whoever connects is thrown out. */
  | { readonly kind: 'refuse' }
  /** Half-open: connections stand and nothing comes through, in neither direction. */
  | { readonly kind: 'silent' }
  | { readonly kind: 'latency'; readonly ms: number }
  /** Broken a moment after so many bytes of the server. */
  | { readonly kind: 'reset'; readonly afterBytes: number }
  /** Bytes of the server come one at a time. */
  | { readonly kind: 'trickle'; readonly everyMs: number };

const LOOK_MS = 20;
const RESET_MS = 100;

export class ToxicProxy {
  readonly #host: string;
  readonly #port: number;
  readonly #server: Server;
  readonly #open = new Set<Socket>();
  #toxic: Toxic = { kind: 'none' };

  /** `target` is host:port. */
  constructor(target: string) {
    const { hostname, port } = new URL(`tcp://${target}`);
    this.#host = hostname;
    this.#port = Number(port);
    this.#server = createServer((client) => this.#serve(client));
  }

  /** host:port to connect to instead. */
  async open(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get toxic(): Toxic {
    return this.#toxic;
  }

  set toxic(toxic: Toxic) {
    this.#toxic = toxic;
    if (toxic.kind === 'refuse' || toxic.kind === 'reset') for (const client of this.#open) client.resetAndDestroy();
  }

  /** Connections that whoever connected has not ended. */
  get connections(): number {
    return this.#open.size;
  }

  async close(): Promise<void> {
    for (const client of this.#open) client.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(client: Socket): void {
    if (this.#toxic.kind === 'refuse') return void client.resetAndDestroy();
    const server = connect({ host: this.#host, port: this.#port });
    this.#open.add(client);
    const end = (): void => {
      this.#open.delete(client);
      client.destroy();
      server.destroy();
    };
    // Of a server that is done there may be something on its way still: #pass ends the client after it.
    client.on('error', end).once('close', end);
    server.on('error', end);
    void this.#pass(client, server, false).catch(end);
    void this.#pass(server, client, true).catch(end);
  }

  async #pass(from: Socket, to: Socket, isReply: boolean): Promise<void> {
    let bytes = 0;
    for await (const chunk of from as AsyncIterable<Buffer>) {
      for (const part of this.#partsOf(chunk, isReply)) {
        await this.#delay(isReply, to);
        if (to.destroyed) return;
        if (isReply && this.#toxic.kind === 'reset' && bytes + part.length > this.#toxic.afterBytes) {
          to.write(part.subarray(0, this.#toxic.afterBytes - bytes));
          // A reset takes along what was not read yet.
          await pause(RESET_MS);
          to.resetAndDestroy();
          return;
        }
        bytes += part.length;
        if (!to.write(part)) await new Promise((resolve) => to.once('drain', resolve).once('close', resolve));
      }
    }
    to.end();
  }

  *#partsOf(chunk: Buffer, isReply: boolean): Generator<Buffer> {
    for (let at = 0; at < chunk.length; ) {
      const bytes = isReply && this.#toxic.kind === 'trickle' ? 1 : chunk.length - at;
      yield chunk.subarray(at, at + bytes);
      at += bytes;
    }
  }

  async #delay(isReply: boolean, to: Socket): Promise<void> {
    while (this.#toxic.kind === 'silent' && !to.destroyed) await pause(LOOK_MS);
    if (this.#toxic.kind === 'latency') await pause(this.#toxic.ms);
    if (this.#toxic.kind === 'trickle' && isReply) await pause(this.#toxic.everyMs);
  }
}
