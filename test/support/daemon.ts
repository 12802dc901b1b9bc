/**
 * The built daemon as a child process, every surface on a free port of the loopback interface.
 * TIDEGAUGE_TEST_NODE names another node binary to run it with, for example the one of the container image.
 */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Running, startProgram } from './process.ts';
import { waitFor } from './wait.ts';

const ENTRY = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
const READY_MS_MAX = 20_000;
const ADDRESS_FLAGS = [
  '--web.listen-address',
  '--otlp.grpc.listen-address',
  '--otlp.http.listen-address',
  '--keda.listen-address',
  '--kubernetes.listen-address',
] as const;

/** `host:port` of each surface, as the daemon bound it. */
export interface Listen {
  readonly web: string;
  readonly otlpGrpc: string;
  readonly otlpHttp: string;
  readonly keda: string;
  readonly kubernetes: string;
}

export interface Daemon {
  readonly listen: Listen;
  readonly pid: number;
  /** Every complete JSON log line so far. */
  logs(): readonly LogLine[];
  /** Everything written so far, as it came. */
  output(): string;
  ended(): boolean;
  /** Stops the daemon by its pid; resolves with its exit code. */
  stop(): Promise<number | null>;
}

export type LogLine = Readonly<Record<string, unknown>>;

export interface Waiting {
  readonly readyMsMax?: number;
  readonly onWait?: (lines: readonly LogLine[]) => void;
  /** It gets this core, and no other. */
  readonly core?: number;
}

/**
 * Starts the daemon and waits for its ready line. Flags given here win over the free ports, for example `…=off`. `onWait` sees
 * the lines so far, again and again while it is waited for.
 */
export async function startDaemon(
  flags: readonly string[] = [],
  { readyMsMax = READY_MS_MAX, onWait = () => {}, core }: Waiting = {},
): Promise<Daemon> {
  if (!existsSync(ENTRY))
    throw new Error(`cannot start the daemon: ${ENTRY} is missing, want it built by "npm run build"`);
  const node = process.env.TIDEGAUGE_TEST_NODE || process.execPath;
  const serve = [ENTRY, 'serve', '--log.format=json', ...freePorts(flags), ...flags];
  const program =
    core === undefined
      ? await startProgram(node, serve)
      : await startProgram('taskset', ['-c', `${core}`, node, ...serve]);
  try {
    const look = (): LogLine | boolean => {
      onWait(logLines(program));
      return readyLine(program);
    };
    const ready = await waitFor(look, { timeoutMs: readyMsMax, what: 'the daemon to be ready' });
    if (ready === true) throw new Error('the daemon ended before it was ready');
    return {
      listen: ready.listen as Listen,
      pid: program.pid,
      logs: () => logLines(program),
      output: program.output,
      ended: program.ended,
      stop: program.stop,
    };
  } catch (error) {
    await program.stop();
    throw new Error(`${(error as Error).message}\n${program.output()}`, { cause: error });
  }
}

function freePorts(flags: readonly string[]): readonly string[] {
  const given = (name: string): boolean => flags.some((flag) => flag === name || flag.startsWith(`${name}=`));
  return ADDRESS_FLAGS.filter((name) => !given(name)).map((name) => `${name}=127.0.0.1:0`);
}

function readyLine(program: Running): LogLine | boolean {
  return logLines(program).find((line) => line.event === 'ready') ?? program.ended();
}

function logLines(program: Running): readonly LogLine[] {
  const complete = program.output().split('\n').slice(0, -1);
  return complete
    .filter((line) => line.startsWith('{'))
    .map(parseLine)
    .filter((line) => line !== null);
}

function parseLine(line: string): LogLine | null {
  try {
    return JSON.parse(line) as LogLine;
  } catch {
    return null; // A line of something else, or the cut-off first line of a long output.
  }
}
