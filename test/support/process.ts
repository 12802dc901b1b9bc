/**
 * Real programs as children of a test: started without a shell, stopped by their pid, waited for, with their output kept.
 * Temporary folders are made here too, so that whoever starts a program can remove what it wrote.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { waitFor } from './wait.ts';

const STOP_MS_MAX = 10_000;
const OUTPUT_CHARS_MAX = 1_000_000;

/** Children that a test has not stopped yet. A test process that ends early must not leave them behind. */
const alive = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of alive) child.kill('SIGKILL');
});

export interface Running {
  readonly name: string;
  readonly pid: number;
  /** Standard output and standard error so far, as they came; only the end of a very long output is kept. */
  output(): string;
  /** True once the process has ended by itself or was stopped. */
  ended(): boolean;
  /** SIGTERM, then SIGKILL after a bound; resolves with the exit code, or null if a signal ended it. Safe to call twice. */
  stop(): Promise<number | null>;
}

export interface StartOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
}

/**
 * Starts a program. It gets PATH, HOME and what `env` names, and nothing else: a test runner's NODE_OPTIONS or a TIDEGAUGE_…
 * variable of the shell must not reach it.
 */
export async function startProgram(
  command: string,
  args: readonly string[],
  options: StartOptions = {},
): Promise<Running> {
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  alive.add(child);
  child.once('exit', () => alive.delete(child));
  let output = '';
  const keep = (chunk: string): void => {
    output = (output + chunk).slice(-OUTPUT_CHARS_MAX);
  };
  child.stdout.setEncoding('utf8').on('data', keep);
  child.stderr.setEncoding('utf8').on('data', keep);
  await once(child, 'spawn');
  return {
    name: command,
    pid: child.pid!,
    output: () => output,
    ended: () => hasEnded(child),
    stop: () => stopChild(child),
  };
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

async function stopChild(child: ChildProcess): Promise<number | null> {
  if (hasEnded(child)) return child.exitCode;
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  const killer = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX);
  await exit;
  clearTimeout(killer);
  return child.exitCode;
}

/** Waits for a line of the output that matches, and returns the match. A program that ends before is an error with its output. */
export async function waitForOutput(program: Running, pattern: RegExp, timeoutMs: number): Promise<RegExpExecArray> {
  const match = await waitFor(() => pattern.exec(program.output()) ?? program.ended(), {
    timeoutMs,
    what: `${program.name} to write ${pattern}`,
  });
  if (match === true) throw new Error(`${program.name} ended before it wrote ${pattern}: ${program.output()}`);
  return match;
}

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end. A non-zero exit is an answer, not an exception. */
export async function runProgram(
  command: string,
  args: readonly string[],
  options: StartOptions = {},
): Promise<Finished> {
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 60_000,
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    stdout += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk;
  });
  await once(child, 'close');
  return { code: child.exitCode, stdout, stderr };
}

export interface TemporaryFolder {
  readonly path: string;
  remove(): Promise<void>;
}

export async function temporaryFolder(): Promise<TemporaryFolder> {
  const path = await mkdtemp(join(tmpdir(), 'tidegauge-test-'));
  return { path, remove: () => rm(path, { recursive: true, force: true, maxRetries: 3 }) };
}
