/**
 * The commands beside `serve`: small clients of a running daemon, and checks of files. As `kubectl-tidegauge` they reach
 * the daemon through the cluster's API server, so nothing has to be forwarded.
 */
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import { CodedError } from '../model/errors.ts';
import { checkFiles } from './check.ts';
import { printExplanation } from './explain.ts';
import { importFiles } from './import.ts';
import { printQuery } from './query.ts';
import { openSource, type Source } from './source.ts';
import { showTop } from './top.ts';

/** What a command may touch of the world. */
export interface Io {
  readonly write: (text: string) => void;
  readonly readFile: (path: string) => string;
  /** Columns of the terminal. */
  readonly columns: number;
  readonly isTerminal: boolean;
}

export interface Options {
  readonly [name: string]: string | boolean | undefined;
}

export interface Call {
  readonly words: readonly string[];
  readonly options: Options;
  readonly io: Io;
  readonly source: Source;
}

const PLUGIN = 'kubectl-tidegauge';

/** Each returns what the process ends with. */
const COMMANDS: Readonly<Record<string, (call: Call) => Promise<number>>> = {
  query: printQuery,
  explain: printExplanation,
  top: showTop,
  'check-config': checkFiles,
  import: importFiles,
};

const USAGE = `Usage: tidegauge <command> [options]

  serve [flags]                run the daemon (the default; its flags: tidegauge --help)
  query '<promql>'             one answer; --json as it came, --plot over --range (1h), --time to look back
  explain '<promql>' | NAME    why an autoscaler is told what it is told; NAME as [namespace/]name of a trigger
  top                          triggers and metrics as they are asked; --once prints and ends
  check-config FILE...         the daemon's own files, and files of prometheus-adapter
  import FILE...               ScaledObjects, HPAs and adapter files: what works as is, and what to change;
                               --against URL compares the answers of a Prometheus or of Kedify's scaler, read-only

  --url URL                    the daemon (http://127.0.0.1:9090)
  --namespace, --service       as kubectl plugin: where the daemon's service is (monitoring, tidegauge:9090)
`;

/** The status to end with, or null if the arguments are the daemon's own. */
export async function runClientCommand(argv: readonly string[], io: Io = realIo()): Promise<number | null> {
  const isPlugin = basename(argv[1] ?? '') === PLUGIN;
  const [name = '', ...rest] = argv.slice(2);
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) {
    if (!isPlugin && name !== 'help') return null;
    io.write(USAGE);
    return name === 'help' || name === '' || name === '--help' ? 0 : 1;
  }
  try {
    const { values, positionals } = parseArgs({ args: [...rest], options: OPTIONS, allowPositionals: true });
    if (values.help === true) {
      io.write(USAGE);
      return 0;
    }
    return await command({ words: positionals, options: values, io, source: openSource(values, isPlugin) });
  } catch (error) {
    if (!(error instanceof CodedError) && !isArgumentFault(error)) throw error;
    process.stderr.write(`tidegauge ${name}: ${(error as Error).message}\n`);
    return 1;
  }
}

const OPTIONS = {
  url: { type: 'string' },
  namespace: { type: 'string', short: 'n' },
  service: { type: 'string' },
  context: { type: 'string' },
  json: { type: 'boolean' },
  plot: { type: 'boolean' },
  time: { type: 'string' },
  range: { type: 'string' },
  step: { type: 'string' },
  once: { type: 'boolean' },
  against: { type: 'string' },
  address: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const;

function isArgumentFault(error: unknown): boolean {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS');
}

function realIo(): Io {
  return {
    write: (text) => void process.stdout.write(text),
    readFile: (path) => {
      try {
        return readFileSync(path === '-' ? 0 : path, 'utf8');
      } catch (cause) {
        throw new CodedError('bad_config', `cannot read ${path}: ${(cause as Error).message}`, { cause });
      }
    },
    columns: process.stdout.columns ?? 100,
    isTerminal: process.stdout.isTTY ?? false,
  };
}

/** The text of an option, or a default. */
export function optionOf(options: Options, name: string, fallback: string): string {
  const value = options[name];
  return typeof value === 'string' ? value : fallback;
}
