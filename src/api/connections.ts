/**
 * How many connections the ports keep open: so many a port, and so many of them from one address, so that no peer alone can
 * take them all. What is more is ended at once, and counted.
 */
import type { Server, Socket } from 'node:net';
import type { Logger } from 'pino';
import type { Cell, Family, Registry } from '../telemetry/registry.ts';

export interface ConnectionsOptions {
  /** Of each port. */
  readonly max: number;
  readonly perAddressMax: number;
  readonly logger: Logger;
  readonly registry: Registry;
}

type Reason = 'port' | 'address' | 'protocol';

const WARN_MS_MIN = 60_000;

/** The connections of all ports. */
export class Connections {
  readonly options: ConnectionsOptions;
  readonly #ports = new Map<string, PortConnections>();
  readonly #refused: Family<Cell>;

  constructor(options: ConnectionsOptions) {
    this.options = options;
    const { registry } = options;
    this.#refused = registry.counter(
      'tidegauge_connections_refused_total',
      'Connections that were ended because the port or the address had too many, or for what their client sent over gRPC.',
      'port',
      'reason',
    );
    registry.collected('gauge', 'tidegauge_connections', 'Connections that are open.', ['port'], () =>
      [...this.#ports].map(([port, { open }]) => ({ labels: [port], value: open })),
    );
  }

  of(port: string): PortConnections {
    let connections = this.#ports.get(port);
    if (connections === undefined) {
      connections = new PortConnections(this.options, port, (reason) => this.#refused.with(port, reason));
      this.#ports.set(port, connections);
    }
    return connections;
  }
}

export class PortConnections {
  readonly #options: ConnectionsOptions;
  readonly #port: string;
  readonly #refused: (reason: Reason) => Cell;
  readonly #byAddress = new Map<string, number>();
  #open = 0;
  #warnedMs = -Infinity;

  constructor(options: ConnectionsOptions, port: string, refused: (reason: Reason) => Cell) {
    this.#options = options;
    this.#port = port;
    this.#refused = refused;
  }

  get open(): number {
    return this.#open;
  }

  /** Stands between a server and those who listen for its connections until now; nobody may come after. */
  bound(server: Server): void {
    server.maxConnections = this.#options.max;
    server.on('drop', ({ remoteAddress } = {}) => this.refuse('port', remoteAddress));
    const others = server.listeners('connection') as ((socket: Socket) => void)[];
    server.removeAllListeners('connection');
    server.on('connection', (socket: Socket) => {
      if (this.#admits(socket)) for (const take of others) take.call(server, socket);
      else socket.destroy();
    });
  }

  /** Counts a connection that is not kept. */
  refuse(reason: Reason, address = 'an unknown address'): void {
    this.#refused(reason).value++;
    const nowMs = performance.now();
    if (nowMs - this.#warnedMs < WARN_MS_MIN) return;
    this.#warnedMs = nowMs;
    const { max, perAddressMax, logger } = this.#options;
    const limits = { max, perAddressMax, open: this.#open };
    logger.warn({ event: 'connections', port: this.#port, reason, address, ...limits }, 'connections are refused');
  }

  #admits(socket: Socket): boolean {
    // One that is gone by now has none.
    const address = socket.remoteAddress ?? '';
    const count = this.#byAddress.get(address) ?? 0;
    if (count >= this.#options.perAddressMax) {
      this.refuse('address', address);
      return false;
    }
    this.#byAddress.set(address, count + 1);
    this.#open++;
    socket.once('close', () => this.#left(address));
    return true;
  }

  #left(address: string): void {
    this.#open--;
    const count = this.#byAddress.get(address)! - 1;
    if (count === 0) this.#byAddress.delete(address);
    else this.#byAddress.set(address, count);
  }
}
