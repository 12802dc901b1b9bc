/** The built daemon in a process of its own, on free ports of the loopback interface, and a load of samples beside it. */
import { execFileSync, spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
const FLOOD_MS = 5 * 3_600_000;
const RETENTION = '6h';
const SURFACES = ['web', 'otlp.grpc', 'otlp.http', 'keda', 'kubernetes'];

/** Keeps this process and its threads off the last core, which is the daemon's; null where cores cannot be given out. */
export function daemonCore() {
  const count = availableParallelism();
  if (count < 2) return null;
  try {
    execFileSync('taskset', ['-a', '-c', '-p', `0-${count - 2}`, String(process.pid)], { stdio: 'ignore' });
    return String(count - 1);
  } catch {
    console.error('no taskset, so the daemon has no core of its own');
    return null;
  }
}

/** Starts it with these surfaces and waits for its ready line: addresses by surface, and the process. */
export async function startDaemon(surfaces, flags = [], core = null, onLine = () => undefined) {
  const addresses = SURFACES.map(
    (name) => `--${name}.listen-address=${surfaces.includes(name) ? '127.0.0.1:0' : 'off'}`,
  );
  const serve = [
    MAIN,
    'serve',
    '--log.format=json',
    '--scaling.warm-up=false',
    `--storage.retention=${RETENTION}`,
    ...addresses,
    ...flags,
  ];
  const command = [process.execPath, ...serve];
  const [program, ...args] = core === null ? command : ['taskset', '-c', core, ...command];
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  process.once('exit', () => child.kill('SIGTERM'));
  for await (const line of createInterface({ input: child.stdout })) {
    const said = JSON.parse(line);
    const { event, listen } = said;
    onLine(said);
    if (event === 'ready') {
      child.stdout.resume();
      return { child, listen };
    }
  }
  throw new Error('the daemon ended before it was ready');
}

/** Remote write without pause until it is stopped; `loader` is connected. */
export function flood(loader) {
  let isOver = false;
  // A second of it is some minutes of samples, which must not run ahead of the clock.
  let startTs = Date.now() - FLOOD_MS;
  const running = (async () => {
    while (!isOver) {
      const { errors, firstError } = await loader.run({ rounds: 2, startTs });
      if (errors > 0) throw new Error(`cannot load: ${firstError}`);
      startTs += 30_000;
    }
  })();
  return {
    stop: () => {
      isOver = true;
      return running;
    },
  };
}
