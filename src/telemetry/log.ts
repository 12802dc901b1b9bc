/**
 * The daemon's log: pino, as JSON lines or as logfmt (`time=… level=info msg="…" key=value`), to one destination and
 * without worker threads.
 */
import { type DestinationStream, type Logger, destination as openDestination, pino, stdTimeFunctions } from 'pino';

export interface LoggerOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly format: 'logfmt' | 'json';
  /** Where the lines go, each with its newline; standard output if absent. */
  readonly destination?: DestinationStream;
}

export function createLogger({ level, format, destination = openDestination(1) }: LoggerOptions): Logger {
  return pino(
    {
      level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (line) => void destination.write(harmless(format === 'json' ? line : `${logfmtLine(line)}\n`)) },
  );
}

/**
 * What a terminal would obey or turn around (C1 controls, marks of direction) is written as JSON writes it: it is in strings
 * alone, and those are quoted. JSON itself escapes no more than C0.
 */
function harmless(line: string): string {
  return line.replace(/[\x7f-\x9f\u2028\u2029]|\p{Cf}/gu, (text) => {
    return Array.from({ length: text.length }, (_, i) => `\\u${text.charCodeAt(i).toString(16).padStart(4, '0')}`).join(
      '',
    );
  });
}

/** One JSON line of pino as logfmt: time, level and message first; objects flattened with dots between their keys. */
function logfmtLine(json: string): string {
  const { time, level, msg, ...rest } = JSON.parse(json) as Readonly<Record<string, unknown>>;
  const pairs = [`time=${String(time)}`, `level=${String(level)}`];
  if (msg !== undefined) pairs.push(`msg=${logfmtValue(msg)}`);
  appendPairs(pairs, '', rest);
  return pairs.join(' ');
}

function appendPairs(pairs: string[], prefix: string, object: object): void {
  for (const [name, value] of Object.entries(object)) {
    const key = prefix + name.replaceAll(/[\s="\p{C}]/gu, '_');
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) appendPairs(pairs, `${key}.`, value);
    else pairs.push(`${key}=${logfmtValue(value)}`);
  }
}

/** Bare where nothing in it can be misread, else quoted as in JSON; so a line stays one line. */
function logfmtValue(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return /^[^\s"=\\\p{C}]+$/u.test(text) ? text : JSON.stringify(text);
}
