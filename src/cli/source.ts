/** Where a command asks: a daemon's web port, or that port through the API server's proxy for services. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { CodedError } from '../model/errors.ts';
import type { Options } from './cli.ts';

export interface Source {
  /** Data of the envelope that `/api/v1/<path>` answers; throws what the daemon says. */
  ask<T>(path: string, parameters: Readonly<Record<string, string>>): Promise<T>;
}

interface Envelope {
  readonly status?: string;
  readonly data?: unknown;
  readonly error?: string;
}

const URL_DEFAULT = 'http://127.0.0.1:9090';
const TIMEOUT_MS = 30_000;

export function openSource(options: Options, isPlugin: boolean): Source {
  const url = options.url;
  return isPlugin && url === undefined
    ? clusterSource(options)
    : webSource(typeof url === 'string' ? url : URL_DEFAULT);
}

export function webSource(url: string): Source {
  const base = url.replace(/\/+$/, '');
  return {
    async ask<T>(path: string, parameters: Readonly<Record<string, string>>) {
      let text: string;
      try {
        const reply = await fetch(`${base}/api/v1/${path}?${new URLSearchParams(parameters)}`, {
          signal: AbortSignal.timeout(TIMEOUT_MS),
        });
        text = await reply.text();
      } catch (cause) {
        const reason = cause instanceof Error && cause.cause instanceof Error ? cause.cause.message : String(cause);
        throw new CodedError('overloaded', `cannot reach ${base}: ${reason}; name the daemon with --url`, { cause });
      }
      return dataOf<T>(text, base);
    },
  };
}

/** `kubectl get --raw`, with the user's own credentials and rights. */
function clusterSource({ namespace = 'monitoring', service = 'tidegauge:9090', context }: Options): Source {
  const base = `/api/v1/namespaces/${namespace}/services/${service}/proxy/api/v1`;
  return {
    async ask<T>(path: string, parameters: Readonly<Record<string, string>>) {
      const raw = `${base}/${path}?${new URLSearchParams(parameters)}`;
      const args = ['get', '--raw', raw, ...(context === undefined ? [] : [`--context=${context}`])];
      try {
        const { stdout } = await promisify(execFile)('kubectl', args, {
          maxBuffer: 256 * 2 ** 20,
          timeout: TIMEOUT_MS,
        });
        return dataOf<T>(stdout, raw);
      } catch (error) {
        if (error instanceof CodedError) throw error;
        const { stderr = '', message } = error as { readonly stderr?: string; readonly message: string };
        throw new CodedError('overloaded', `cannot ask through kubectl: ${stderr.trim() || message}`, { cause: error });
      }
    },
  };
}

function dataOf<T>(text: string, from: string): T {
  let envelope: Envelope;
  try {
    envelope = JSON.parse(text) as Envelope;
  } catch (cause) {
    throw new CodedError('bad_data', `cannot read the answer of ${from}: got ${JSON.stringify(text.slice(0, 200))}`, {
      cause,
    });
  }
  if (envelope.status !== 'success') throw new CodedError('bad_data', envelope.error ?? text.slice(0, 200));
  return envelope.data as T;
}
