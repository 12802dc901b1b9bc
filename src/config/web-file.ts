/**
 * `--web.config.file`: who is let in, and TLS, for every port that senders, readers and KEDA use. The file has the form of
 * Prometheus' own (https://prometheus.io/docs/prometheus/latest/configuration/https/): `tls_server_config` is that of
 * Prometheus and holds for all of these ports; `ports` names exceptions; `tokens`, `clients` and `anonymous` are ours.
 *
 * Nothing in it is a secret: tokens and keys are in files that it names, relative to itself.
 */
import { dirname, resolve } from 'node:path';
import { parseDocument } from 'yaml';
import {
  type AccessRules,
  type ClientEntry,
  type Named,
  PORTS,
  type PortName,
  ROLES,
  type Role,
  type TlsSettings,
  type TokenEntry,
} from '../model/access.ts';
import { CodedError } from '../model/errors.ts';
import { nearest } from '../model/nearest.ts';

export const NO_WEB_FILE: AccessRules = {
  tls: { web: null, otlp_grpc: null, otlp_http: null, keda: null },
  tokens: [],
  clients: [],
  anonymous: [],
};

/** Throws `bad_config`. */
export function parseWebFile(text: string, path: string): AccessRules {
  const document = parseDocument(text, { prettyErrors: false });
  const [error] = document.errors;
  if (error !== undefined) throw new CodedError('bad_config', `cannot read ${path}: ${error.message}`);
  return new WebFileReader(path).read(document.toJS({ maxAliasCount: 100 }) as unknown);
}

type Keys = ReadonlyMap<string, unknown>;

const NAMESPACE = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/;
/** Go's names; what takes a certificate without looking whose it is, is not here. */
const CLIENT_AUTH = ['NoClientCert', 'VerifyClientCertIfGiven', 'RequireAndVerifyClientCert'];
const MIN_VERSIONS = { TLS12: 'TLSv1.2', TLS13: 'TLSv1.3' } as const;

class WebFileReader {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  read(root: unknown): AccessRules {
    const keys = this.#keys(root, '', ['tls_server_config', 'ports', 'tokens', 'clients', 'anonymous']);
    const common = keys.has('tls_server_config') ? this.#tls(keys.get('tls_server_config'), 'tls_server_config') : null;
    const ports = this.#keys(keys.get('ports'), 'ports', PORTS);
    const tlsOf = (port: PortName): TlsSettings | null => {
      if (!ports.has(port)) return common;
      return ports.get(port) === 'off' ? null : this.#tls(ports.get(port), `ports.${port}`);
    };
    const file: AccessRules = {
      tls: {
        web: tlsOf('web'),
        otlp_grpc: tlsOf('otlp_grpc'),
        otlp_http: tlsOf('otlp_http'),
        keda: tlsOf('keda'),
      },
      tokens: this.#list(keys.get('tokens'), 'tokens').map((one, i) => this.#token(one, `tokens[${i}]`)),
      clients: this.#list(keys.get('clients'), 'clients').map((one, i) => this.#client(one, `clients[${i}]`)),
      anonymous: this.#roles(keys.get('anonymous') ?? [], 'anonymous'),
    };
    this.#checkNames(file);
    return file;
  }

  #tls(value: unknown, where: string): TlsSettings {
    const known = ['cert_file', 'key_file', 'client_ca_file', 'client_auth_type', 'min_version'];
    const keys = this.#keys(value, where, known);
    const clientCaFile = this.#file(keys, 'client_ca_file', where);
    const byDefault = clientCaFile === '' ? 'NoClientCert' : 'RequireAndVerifyClientCert';
    const clientAuth = keys.get('client_auth_type') ?? byDefault;
    const version = keys.get('min_version') ?? 'TLS12';
    const certFile = this.#file(keys, 'cert_file', where);
    const keyFile = this.#file(keys, 'key_file', where);
    if (certFile === '' || keyFile === '') throw this.#wrong(where, 'got one alone or none', 'cert_file and key_file');
    if (typeof clientAuth !== 'string' || !CLIENT_AUTH.includes(clientAuth))
      throw this.#wrong(`${where}.client_auth_type`, `got ${shown(clientAuth)}`, CLIENT_AUTH.join(', '));
    if ((clientCaFile === '') !== (clientAuth === 'NoClientCert'))
      throw this.#wrong(where, `got ${clientAuth} ${clientCaFile === '' ? 'without' : 'with'} client_ca_file`, 'both');
    if (typeof version !== 'string' || !Object.hasOwn(MIN_VERSIONS, version))
      throw this.#wrong(`${where}.min_version`, `got ${shown(version)}`, 'TLS12 or TLS13');
    return {
      certFile,
      keyFile,
      clientCaFile,
      isCertificateRequired: clientAuth === 'RequireAndVerifyClientCert',
      minVersion: MIN_VERSIONS[version as keyof typeof MIN_VERSIONS],
    };
  }

  #token(value: unknown, where: string): TokenEntry {
    const keys = this.#keys(value, where, ['name', 'file', 'namespace', 'roles']);
    const file = this.#file(keys, 'file', where);
    if (file === '') throw this.#wrong(where, 'got no file', 'the file that holds the token');
    return { ...this.#named(keys, where), file };
  }

  #client(value: unknown, where: string): ClientEntry {
    const keys = this.#keys(value, where, ['name', 'common_name', 'san', 'namespace', 'roles']);
    const commonName = this.#text(keys, 'common_name', where);
    const san = this.#text(keys, 'san', where);
    if (commonName === '' && san === '') throw this.#wrong(where, 'got neither', 'common_name or san of a certificate');
    return { ...this.#named(keys, where), commonName, san };
  }

  #named(keys: Keys, where: string): Named {
    const name = this.#text(keys, 'name', where);
    const namespace = this.#text(keys, 'namespace', where);
    const roles = this.#roles(keys.get('roles'), `${where}.roles`);
    if (!/^[\w.@/-]{1,64}$/.test(name))
      throw this.#wrong(`${where}.name`, `got ${shown(name)}`, 'up to 64 letters, digits and ._@/-');
    if (namespace !== '' && !NAMESPACE.test(namespace))
      throw this.#wrong(`${where}.namespace`, `got ${shown(namespace)}`, 'the name of a namespace');
    if (roles.length === 0) throw this.#wrong(`${where}.roles`, 'got none', `any of ${ROLES.join(', ')}`);
    // Queries, the page and administration see all namespaces: what is narrowed to one is not for them.
    if (namespace !== '' && (roles.includes('read') || roles.includes('admin')))
      throw this.#wrong(`${where}.roles`, 'got read or admin with a namespace', 'write and scale only');
    return { name, namespace, roles };
  }

  #roles(value: unknown, where: string): readonly Role[] {
    return this.#list(value, where).map((role) => {
      if ((ROLES as readonly unknown[]).includes(role)) return role as Role;
      throw this.#wrong(where, `got ${shown(role)}`, `any of ${ROLES.join(', ')}`);
    });
  }

  #checkNames({ tokens, clients }: AccessRules): void {
    const seen = new Set<string>();
    for (const { name } of [...tokens, ...clients]) {
      if (seen.has(name)) throw this.#wrong('name', `got ${shown(name)} again`, 'each once');
      seen.add(name);
    }
  }

  #file(keys: Keys, key: string, where: string): string {
    const path = this.#text(keys, key, where);
    return path === '' ? '' : resolve(dirname(this.#path), path);
  }

  #text(keys: Keys, key: string, where: string): string {
    const value = keys.get(key) ?? '';
    if (typeof value === 'string' && !value.includes('\0')) return value;
    throw this.#wrong(`${where}.${key}`, `got ${shown(value)}`, 'a text');
  }

  #list(value: unknown, where: string): readonly unknown[] {
    if (value === undefined || value === null) return [];
    if (Array.isArray(value)) return value;
    throw this.#wrong(where, `got ${shown(value)}`, 'a list');
  }

  #keys(value: unknown, where: string, known: readonly string[]): Keys {
    if (value === undefined || value === null) return new Map();
    if (typeof value !== 'object' || Array.isArray(value))
      throw this.#wrong(where === '' ? 'the file' : where, `got ${shown(value)}`, 'keys and values');
    const keys = new Map(Object.entries(value));
    for (const key of keys.keys()) if (!known.includes(key)) throw this.#unknown(where, key, known);
    return keys;
  }

  #unknown(where: string, key: string, known: readonly string[]): CodedError {
    const place = where === '' ? key : `${where}.${key}`;
    const hint = key === 'basic_auth_users' ? 'passwords are not kept here, use tokens' : null;
    const nearby = `it is not known; the nearest known key is ${nearest(key, known)}`;
    return new CodedError('bad_config', `cannot use ${place} of ${this.#path}: ${hint ?? nearby}`);
  }

  #wrong(where: string, got: string, want: string): CodedError {
    return new CodedError('bad_config', `cannot use ${where} of ${this.#path}: ${got}, want ${want}`);
  }
}

/** What was written, but not at length: somebody may have put a secret where it does not belong. */
function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length <= 24 ? text : 'a value that is not one';
}
