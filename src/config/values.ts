/** The kinds of values that a setting can have: how each is read from text, and written as text again. */
import { isIPv6 } from 'node:net';
import { compileRegex } from '../model/matcher.ts';
import { formatDuration, tryParseDuration } from '../model/time.ts';

/** Where to listen. An empty host means all interfaces; port 0 lets the system pick a free one. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface Kind<T> {
  /** The word that documents use for it. */
  readonly name:
    | 'address'
    | 'path'
    | 'duration'
    | 'bytes'
    | 'choice'
    | 'choices'
    | 'boolean'
    | 'count'
    | 'name'
    | 'number'
    | 'list'
    | 'pattern'
    | 'url';
  /** What a right value looks like, as the end of the sentence "want …". */
  readonly want: string;
  /** The value, or undefined if the text is not one. */
  parse(text: string): T | undefined;
  format(value: T): string;
}

/** An address, or null for `off`. */
export const ADDRESS: Kind<Address | null> = {
  name: 'address',
  want: 'host:port, :port, [::1]:port or off',
  parse: (text) => (text === 'off' ? null : parseAddress(text)),
  format: (address) => (address === null ? 'off' : formatAddress(address)),
};

/** The path of a file or directory; empty where the setting says what that means. */
export const PATH: Kind<string> = {
  name: 'path',
  want: 'a path without a NUL character',
  parse: (text) => (text.includes('\0') ? undefined : text),
  format: (path) => path,
};

/** A regular expression (RE2) that must match as a whole. */
export const PATTERN: Kind<string> = {
  name: 'pattern',
  want: 'a regular expression (RE2)',
  parse: (text) => (isPattern(text) ? text : undefined),
  format: (pattern) => pattern,
};

function isPattern(text: string): boolean {
  try {
    compileRegex(text);
    return true;
  } catch {
    return false;
  }
}

/** Milliseconds above 0. */
export const DURATION: Kind<number> = {
  name: 'duration',
  want: 'a duration above 0 such as 2h or 1h30m',
  parse: (text) => tryParseDuration(text) || undefined,
  format: formatDuration,
};

/** A name of letters, digits and dashes. */
export const TEXT: Kind<string> = {
  name: 'name',
  want: 'a name of small letters, digits and dashes',
  parse: (text) => (/^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/.test(text) ? text : undefined),
  format: (text) => text,
};

/** An `http:` or `https:` URL; empty for none. */
export const URL_OR_NONE: Kind<string> = {
  name: 'url',
  want: 'an http: or https: URL, or nothing',
  parse: (text) => (text === '' || /^https?:$/.test(protocolOf(text)) ? text : undefined),
  format: (text) => text,
};

function protocolOf(text: string): string {
  try {
    return new URL(text).protocol;
  } catch {
    return '';
  }
}

/** Milliseconds above 0, or 0 for `always`. */
export const SYNC: Kind<number> = {
  name: 'duration',
  want: 'a duration above 0 such as 1s, or always',
  parse: (text) => (text === 'always' ? 0 : tryParseDuration(text) || undefined),
  format: (ms) => (ms === 0 ? 'always' : formatDuration(ms)),
};

export const BOOLEAN: Kind<boolean> = {
  name: 'boolean',
  want: 'true or false',
  parse: (text) => (text === 'true' ? true : text === 'false' ? false : undefined),
  format: String,
};

/** A whole number from 0. */
export const COUNT: Kind<number> = {
  name: 'count',
  want: 'a whole number from 0',
  parse: (text) => (/^\d{1,15}$/.test(text) ? Number(text) : undefined),
  format: String,
};

/** A finite number. */
export const NUMBER: Kind<number> = {
  name: 'number',
  want: 'a number such as 0 or 1.5',
  parse: (text) => (/^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?$/.test(text) ? finite(Number(text)) : undefined),
  format: String,
};

function finite(value: number): number | undefined {
  return Number.isFinite(value) ? value : undefined;
}

/** Texts without commas, separated by commas; in the YAML file, a list as well. */
export const LIST: Kind<readonly string[]> = {
  name: 'list',
  want: 'texts separated by commas, none of them empty',
  parse(text) {
    if (text.trim() === '') return [];
    const items = text.split(',').map((item) => item.trim());
    return items.includes('') ? undefined : items;
  },
  format: (items) => items.join(','),
};

/** Bytes within bounds. */
export function bytesBetween(bytesMin: number, bytesMax: number): Kind<number> {
  return {
    name: 'bytes',
    want: `bytes such as 512MiB, from ${formatBytes(bytesMin)} to ${formatBytes(bytesMax)}`,
    parse(text) {
      const bytes = parseBytes(text);
      return bytes !== undefined && bytes >= bytesMin && bytes <= bytesMax ? bytes : undefined;
    },
    format: formatBytes,
  };
}

export function choiceOf<const C extends string>(...choices: readonly C[]): Kind<C> {
  return {
    name: 'choice',
    want: choices.join(', ').replace(/, ([^,]*)$/, ' or $1'),
    parse: (text) => choices.find((choice) => choice === text),
    format: String,
  };
}

/** Any number of the choices, separated by commas; each once, in the order of the choices. */
export function choicesOf<const C extends string>(...choices: readonly C[]): Kind<readonly C[]> {
  return {
    name: 'choices',
    want: `any of ${choices.join(', ')}, separated by commas`,
    parse(text) {
      const words = text.split(',').filter((word) => word !== '');
      if (!words.every((word) => (choices as readonly string[]).includes(word))) return undefined;
      return choices.filter((choice) => words.includes(choice));
    },
    format: (chosen) => chosen.join(','),
  };
}

/** A whole number from `min`. */
export function countFrom(min: number): Kind<number> {
  return {
    name: 'count',
    want: `a whole number from ${min}`,
    parse: (text) => (/^\d{1,15}$/.test(text) && Number(text) >= min ? Number(text) : undefined),
    format: String,
  };
}

/** `127.0.0.1:9090`, `[::1]:9090`, or `:9090` for all interfaces. */
export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** True for an address that only programs on the same machine can reach. */
export function isLoopback({ host }: Address): boolean {
  return host === 'localhost' || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host);
}

function parseAddress(text: string): Address | undefined {
  const match = /^(?:\[([^\]]+)\]|([a-zA-Z0-9._-]*)):(\d{1,5})$/.exec(text);
  if (match === null) return undefined;
  const [, ipv6, name, digits] = match;
  const port = Number(digits);
  if (port > 65_535 || (ipv6 !== undefined && !isIPv6(ipv6))) return undefined;
  return { host: ipv6 ?? name ?? '', port };
}

const UNITS: readonly (readonly [unit: string, bytes: number])[] = [
  ['TiB', 2 ** 40],
  ['GiB', 2 ** 30],
  ['MiB', 2 ** 20],
  ['KiB', 2 ** 10],
];

/** `512MiB`, `1.5GiB`, Kubernetes' `512Mi`, or plain bytes. Decimal units are refused: `MB` means different things. */
function parseBytes(text: string): number | undefined {
  const match = /^(\d{1,16}(?:\.\d{1,6})?)(?:([KMGT]i)B?|B)?$/.exec(text);
  if (match === null) return undefined;
  const factor = UNITS.find(([unit]) => unit === `${match[2]}B`)?.[1] ?? 1;
  const bytes = Number(match[1]) * factor;
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

function formatBytes(bytes: number): string {
  for (const [unit, factor] of UNITS) if (bytes > 0 && bytes % factor === 0) return `${bytes / factor}${unit}`;
  return `${bytes}B`;
}
