/**
 * A server under test: either one that already runs (url, pid) or one that
 * the harness starts itself on an empty folder ("managed"), which the start-up,
 * restart and memory measurements need.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from './http.mjs';

const running = new Set();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

export class Target {
  /**
   * @param {object} spec
   * @param {string} spec.name
   * @param {string} [spec.url]      of a running server; with `pid`
   * @param {number} [spec.pid]
   * @param {string[]} [spec.cmd]    of a managed one; {data} and {port} are filled in
   * @param {Record<string, string>} [spec.files] written into {data} before the start
   * @param {string} [spec.write]    remote-write path
   * @param {string} [spec.api]      prefix before /api/v1/query
   * @param {string} [spec.ready]    path that answers 2xx once ready
   * @param {string[]} [spec.suites] the only suites that apply
   */
  constructor(spec, dataRoot) {
    Object.assign(this, { write: '/api/v1/write', api: '', ready: '/-/ready', suites: undefined }, spec);
    this.managed = Boolean(spec.cmd);
    this.data = path.join(dataRoot, spec.name);
  }

  /** Starts a managed target. @returns {Promise<number>} ms until it was ready */
  async start({ keepData = false, timeoutMs = 300_000 } = {}) {
    if (!this.managed) return 0;
    if (!keepData) {
      fs.rmSync(this.data, { recursive: true, force: true });
      fs.mkdirSync(this.data, { recursive: true });
      for (const [name, text] of Object.entries(this.files ?? {})) fs.writeFileSync(path.join(this.data, name), text);
    }
    const port = await freePort();
    this.url = `http://127.0.0.1:${port}`;
    const [command, ...args] = this.cmd.map((arg) =>
      arg.replaceAll('{data}', this.data).replaceAll('{port}', String(port)),
    );
    const log = fs.openSync(`${this.data}.log`, 'a');
    const began = performance.now();
    this.child = spawn(command, args, { stdio: ['ignore', log, log], cwd: this.data });
    fs.closeSync(log);
    running.add(this.child);
    this.exited = once(this.child, 'exit').then(([code, signal]) => {
      running.delete(this.child);
      this.dead = `${code ?? signal}`;
    });
    this.dead = '';
    this.pid = this.child.pid;
    const client = new Client(this.url);
    try {
      while (performance.now() - began < timeoutMs) {
        if (this.dead) throw new Error(`${this.name} ended at start (${this.dead}); see ${this.data}.log`);
        try {
          const { status } = await client.get(this.ready, { timeoutMs: 2000 });
          if (status < 300) return performance.now() - began;
        } catch {
          /* not listening yet */
        }
        await sleep(2);
      }
    } finally {
      client.close();
    }
    throw new Error(`${this.name} was not ready within ${timeoutMs} ms`);
  }

  /** Ends a managed target. @returns {Promise<number>} ms until it was gone */
  async stop(signal = 'SIGTERM') {
    if (!this.managed || this.dead) return 0;
    const began = performance.now();
    this.child.kill(signal);
    const force = setTimeout(() => this.child.kill('SIGKILL'), 120_000);
    await this.exited;
    clearTimeout(force);
    return performance.now() - began;
  }

  clean() {
    if (this.managed) fs.rmSync(this.data, { recursive: true, force: true });
  }
}

/** name=url,pid=N[,write=PATH][,api=PREFIX][,ready=PATH] */
export function parseTarget(text) {
  const [head, ...rest] = text.split(',');
  const at = head.indexOf('=');
  if (at < 1) throw new Error(`--target wants name=url,pid=N[,write=PATH][,api=PREFIX], not ${text}`);
  const spec = { name: head.slice(0, at), url: head.slice(at + 1) };
  for (const part of rest) {
    const eq = part.indexOf('=');
    spec[part.slice(0, eq)] = part.slice(eq + 1);
  }
  new Client(spec.url).close(); // refuses what is not on this machine
  spec.pid = Number(spec.pid);
  if (!spec.pid) throw new Error(`${spec.name}: a running target needs pid=N, its CPU and memory are read from /proc`);
  return spec;
}
