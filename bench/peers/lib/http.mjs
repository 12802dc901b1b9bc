/** The small keep-alive HTTP client that all measurements use. */
import http from 'node:http';

export class Client {
  /** @param {string} base e.g. http://127.0.0.1:9090 ; @param {number} connections at most this many sockets */
  constructor(base, connections = 1) {
    const url = new URL(base);
    if (!/^(127\.|localhost$|\[::1\]$)/.test(url.hostname)) throw new Error(`only loopback targets: ${base}`);
    this.host = url.hostname;
    this.port = Number(url.port || 80);
    this.prefix = url.pathname.replace(/\/$/, '');
    this.agent = new http.Agent({ keepAlive: true, maxSockets: connections, noDelay: true });
  }

  /** @returns {Promise<{status: number, body: Buffer}>} */
  send(method, path, { headers = {}, body, timeoutMs = 60_000 } = {}) {
    return new Promise((resolve, reject) => {
      const req = http.request(
        {
          agent: this.agent,
          host: this.host,
          port: this.port,
          method,
          path: this.prefix + path,
          headers: body ? { ...headers, 'content-length': body.length } : headers,
          timeout: timeoutMs,
        },
        (res) => {
          const parts = [];
          res.on('data', (part) => parts.push(part));
          res.on('end', () => resolve({ status: res.statusCode, body: Buffer.concat(parts) }));
          res.on('error', reject);
        },
      );
      req.on('timeout', () => req.destroy(new Error(`no answer within ${timeoutMs} ms: ${method} ${path}`)));
      req.on('error', reject);
      req.end(body);
    });
  }

  get(path, options) {
    return this.send('GET', path, options);
  }

  close() {
    this.agent.destroy();
  }
}

export const WRITE_HEADERS = {
  'content-type': 'application/x-protobuf',
  'content-encoding': 'snappy',
  'x-prometheus-remote-write-version': '0.1.0',
  'user-agent': 'bench-peers/0.1',
};
