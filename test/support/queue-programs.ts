/** Real queues: Redis with its exporter, and RabbitMQ with its Prometheus plugin, each on free ports of this machine. */
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { type Running, runProgram, startProgram, temporaryFolder, waitForOutput } from './process.ts';
import { waitFor } from './wait.ts';

const START_MS_MAX = 60_000;

export interface Queue {
  /** `host:port` of its metrics. */
  readonly metrics: string;
  /** The path of them. */
  readonly metricsPath: string;
  add(messages: number): Promise<void>;
  /** Takes everything out. */
  empty(): Promise<void>;
  /** The exporter, or the whole program where it exports by itself, goes away. */
  stopExporter(): Promise<void>;
  stop(): Promise<void>;
}

/** A list in Redis. */
export async function startRedisList(key: string): Promise<Queue> {
  const folder = await temporaryFolder();
  const [port, metricsPort] = [await freePort(), await freePort()];
  const flags = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder.path, '--save', ''];
  const server = await startProgram('redis-server', flags);
  await waitForOutput(server, /Ready to accept connections/, START_MS_MAX);
  const metrics = `127.0.0.1:${metricsPort}`;
  const exporter = await startProgram('prometheus-redis-exporter', [
    `-redis.addr=redis://127.0.0.1:${port}`,
    `-web.listen-address=${metrics}`,
    `-check-single-keys=${key}`,
  ]);
  await answering(`http://${metrics}/metrics`, exporter);
  const redis = async (...command: string[]): Promise<void> => {
    const done = await runProgram('redis-cli', ['-p', String(port), ...command]);
    if (done.code !== 0 || /^ERR/.test(done.stdout)) throw new Error(`redis-cli: ${done.stdout}${done.stderr}`);
  };
  return {
    metrics,
    metricsPath: '/metrics',
    add: (messages) => redis('RPUSH', key, ...Array.from({ length: messages }, (_, i) => `task ${i}`)),
    empty: () => redis('LTRIM', key, '1', '0'),
    stopExporter: async () => void (await exporter.stop()),
    stop: async () => {
      await exporter.stop();
      await server.stop();
      await folder.remove();
    },
  };
}

/** A queue of RabbitMQ, filled and emptied by its management API. */
export async function startRabbitQueue(queue: string): Promise<Queue> {
  const folder = await temporaryFolder();
  const [amqp, metricsPort, api, epmdPort, distribution] = await Promise.all([1, 2, 3, 4, 5].map(freePort));
  const at = (name: string): string => join(folder.path, name);
  const lines = [
    `listeners.tcp.default = 127.0.0.1:${amqp}`,
    ...[`prometheus.tcp.ip = 127.0.0.1`, `prometheus.tcp.port = ${metricsPort}`],
    ...[`management.tcp.ip = 127.0.0.1`, `management.tcp.port = ${api}`],
  ];
  await writeFile(at('rabbitmq.conf'), `${lines.join('\n')}\n`);
  await writeFile(at('enabled_plugins'), '[rabbitmq_prometheus,rabbitmq_management].\n');
  // What Erlang would start by itself, and leave behind.
  const epmd = await startProgram('epmd', ['-address', '127.0.0.1', '-port', String(epmdPort)]);
  const server = await startProgram('rabbitmq-server', [], {
    cwd: folder.path,
    env: {
      HOME: folder.path,
      ERL_EPMD_ADDRESS: '127.0.0.1',
      ERL_EPMD_PORT: String(epmdPort),
      RABBITMQ_NODENAME: `tidegauge${amqp}@localhost`,
      RABBITMQ_DIST_PORT: String(distribution),
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-kernel inet_dist_use_interface {127,0,0,1}',
      RABBITMQ_MNESIA_BASE: at('mnesia'),
      RABBITMQ_LOGS: '-',
      RABBITMQ_CONFIG_FILE: at('rabbitmq.conf'),
      RABBITMQ_ENABLED_PLUGINS_FILE: at('enabled_plugins'),
      RABBITMQ_PID_FILE: at('pid'),
    },
  });
  const stop = async (): Promise<void> => {
    await stopRabbit(server, at('pid'));
    await epmd.stop();
    await folder.remove();
  };
  try {
    await waitForOutput(server, /Server startup complete/, START_MS_MAX);
    const ask = rabbitApi(`http://127.0.0.1:${api}/api`);
    await ask('PUT', `queues/%2F/${queue}`, {});
    const publish = { properties: {}, routing_key: queue, payload: 'x', payload_encoding: 'string' };
    return {
      metrics: `127.0.0.1:${metricsPort}`,
      metricsPath: '/metrics/per-object',
      add: async (messages) => {
        for (let i = 0; i < messages; i++) await ask('POST', 'exchanges/%2F/amq.default/publish', publish);
      },
      empty: () => ask('DELETE', `queues/%2F/${queue}/contents`, null),
      stopExporter: () => stopRabbit(server, at('pid')),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The start script answers SIGTERM by a command line of its own; the node itself stops in order, too. */
async function stopRabbit(server: Running, pidFile: string): Promise<void> {
  if (server.ended()) return;
  try {
    process.kill(Number(readFileSync(pidFile, 'utf8')), 'SIGTERM');
    await waitFor(() => server.ended(), { timeoutMs: 30_000, what: 'rabbitmq-server to end' });
  } finally {
    await server.stop();
  }
}

function rabbitApi(url: string): (method: string, path: string, body: object | null) => Promise<void> {
  const headers = { authorization: `Basic ${btoa('guest:guest')}`, 'content-type': 'application/json' };
  return async (method, path, body) => {
    const reply = await fetch(`${url}/${path}`, { method, headers, body: body === null ? null : JSON.stringify(body) });
    const text = await reply.text();
    if (!reply.ok || text.includes('"routed":false')) throw new Error(`${method} ${path}: ${reply.status} ${text}`);
  };
}

async function answering(url: string, program: Running): Promise<void> {
  const answers = async (): Promise<boolean> => {
    if (program.ended()) throw new Error(`${program.name} ended: ${program.output()}`);
    return (await fetch(url)).ok;
  };
  await waitFor(answers, { timeoutMs: START_MS_MAX, what: `${program.name} to answer` });
}

/** A port that was free a moment ago: these programs take none that they choose themselves. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
