/**
 * Whom to believe: the authority of the front proxy and which headers it may speak through, and the authority of users'
 * certificates. In a cluster this is the ConfigMap `kube-system/extension-apiserver-authentication`, read and watched.
 */
import type { X509Certificate } from 'node:crypto';
import type { Logger } from 'pino';
import { CodedError } from '../../../model/errors.ts';
import type { ClusterClient } from '../cluster/client.ts';
import { type KubeObject, Reflector } from '../cluster/reflector.ts';
import { parseBundle } from './chain.ts';

export interface RequestHeaderTrust {
  readonly authorities: readonly X509Certificate[];
  /** Common names that may speak for others; empty for any. */
  readonly allowedNames: readonly string[];
  /** All lower case. */
  readonly usernameHeaders: readonly string[];
  readonly uidHeaders: readonly string[];
  readonly groupHeaders: readonly string[];
  readonly extraPrefixes: readonly string[];
}

export interface Trust {
  /** Null if nobody may speak for others. */
  readonly requestHeader: RequestHeaderTrust | null;
  readonly clientAuthorities: readonly X509Certificate[];
}

export const NO_TRUST: Trust = { requestHeader: null, clientAuthorities: [] };

/** Trust by files outside of a cluster; '' for none. */
export function trustOfFiles(clientCaPem: string, requestHeaderCaPem: string): Trust {
  return {
    requestHeader:
      requestHeaderCaPem === '' ? null : { ...HEADERS, authorities: bundle(requestHeaderCaPem), allowedNames: [] },
    clientAuthorities: clientCaPem === '' ? [] : bundle(clientCaPem),
  };
}

const HEADERS = {
  usernameHeaders: ['x-remote-user'],
  uidHeaders: ['x-remote-uid'],
  groupHeaders: ['x-remote-group'],
  extraPrefixes: ['x-remote-extra-'],
};

/** Trust as the ConfigMap says; throws `bad_config` for what cannot be read. */
export function trustOfConfigMap(data: Readonly<Record<string, string>>): Trust {
  const requestHeaderCa = data['requestheader-client-ca-file'] ?? '';
  return {
    requestHeader:
      requestHeaderCa === ''
        ? null
        : {
            authorities: bundle(requestHeaderCa),
            allowedNames: list(data, 'requestheader-allowed-names'),
            usernameHeaders: lower(list(data, 'requestheader-username-headers')),
            uidHeaders: lower(list(data, 'requestheader-uid-headers')),
            groupHeaders: lower(list(data, 'requestheader-group-headers')),
            extraPrefixes: lower(list(data, 'requestheader-extra-headers-prefix')),
          },
    clientAuthorities: bundle(data['client-ca-file'] ?? ''),
  };
}

const NAMESPACE = 'kube-system';
const NAME = 'extension-apiserver-authentication';

export class WatchedTrust {
  readonly #reflector: Reflector;
  readonly #logger: Logger;
  #trust: Trust = NO_TRUST;

  constructor(client: ClusterClient, logger: Logger) {
    this.#logger = logger;
    this.#reflector = new Reflector({
      client,
      path: `/api/v1/namespaces/${NAMESPACE}/configmaps`,
      query: `fieldSelector=metadata.name%3D${NAME}`,
      logger,
      replace: (objects) => this.#take(objects[0] ?? null),
      change: (type, object) => this.#take(type === 'set' ? object : null),
    });
  }

  /** Rejects if the ConfigMap cannot be read or is not there. */
  async start(): Promise<void> {
    await this.#reflector.start();
    if (this.#trust !== NO_TRUST) return;
    this.stop();
    throw new CodedError('bad_config', `cannot authenticate callers: got no usable ConfigMap ${NAMESPACE}/${NAME}`);
  }

  stop(): void {
    this.#reflector.stop();
  }

  get trust(): Trust {
    return this.#trust;
  }

  /** A ConfigMap that is gone or broken leaves what was known: nobody loses access by a slip, and nobody gains it. */
  #take(object: KubeObject | null): void {
    const data = (object?.data ?? null) as Readonly<Record<string, string>> | null;
    if (object === null || data === null || object.metadata.name !== NAME) {
      this.#logger.warn(`the ConfigMap ${NAMESPACE}/${NAME} is gone; what it said last still holds`);
      return;
    }
    try {
      this.#trust = trustOfConfigMap(data);
    } catch (error) {
      this.#logger.error(`cannot use the ConfigMap ${NAMESPACE}/${NAME}: ${(error as Error).message}`);
    }
  }
}

function bundle(pem: string): X509Certificate[] {
  try {
    return parseBundle(pem);
  } catch (cause) {
    throw new CodedError('bad_config', `cannot read a bundle of certificates: ${(cause as Error).message}`, { cause });
  }
}

function list(data: Readonly<Record<string, string>>, key: string): string[] {
  const text = data[key] ?? '[]';
  let value: unknown = null;
  try {
    value = JSON.parse(text);
  } catch {
    // Refused below.
  }
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value;
  throw new CodedError('bad_config', `cannot read ${key}: got ${JSON.stringify(text)}, want a list of texts as JSON`);
}

function lower(texts: readonly string[]): string[] {
  return texts.map((text) => text.toLowerCase());
}
