/**
 * Where the API server is and how we are known to it: what a pod is given, or a kubeconfig file. Certificates and tokens
 * are read here; which of them is used when, is not decided here.
 * Source: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
 */
import { parse } from 'yaml';
import { CodedError } from '../model/errors.ts';

export interface ClusterAccess {
  /** `https://host:port` */
  readonly url: string;
  /** Null trusts what the system trusts. */
  readonly caPem: string | null;
  readonly certPem: string | null;
  readonly keyPem: string | null;
  /** The bearer token at this moment, or null; kubelet rotates the one of a pod. */
  readonly token: () => string | null;
}

type ReadFile = (path: string) => string;

const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

/** The API server of the cluster that this pod runs in, or null outside of one. */
export function inClusterAccess(
  env: Readonly<Record<string, string | undefined>>,
  readFile: ReadFile,
): ClusterAccess | null {
  const host = env.KUBERNETES_SERVICE_HOST;
  if (host === undefined || host === '') return null;
  const port = env.KUBERNETES_SERVICE_PORT ?? '443';
  return {
    url: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    caPem: readFile(`${SERVICE_ACCOUNT}/ca.crt`),
    certPem: null,
    keyPem: null,
    token: () => readFile(`${SERVICE_ACCOUNT}/token`).trim(),
  };
}

/** The namespace of this pod, or null outside of a cluster. */
export function inClusterNamespace(readFile: ReadFile): string | null {
  try {
    return readFile(`${SERVICE_ACCOUNT}/namespace`).trim();
  } catch {
    return null;
  }
}

interface Named {
  readonly name?: unknown;
  readonly [field: string]: unknown;
}

/** The current context of a kubeconfig file. Throws `bad_config`. */
export function kubeconfigAccess(path: string, readFile: ReadFile): ClusterAccess {
  const config = readKubeconfig(path, readFile);
  const context = entry(config, 'contexts', config['current-context'], 'context', path);
  const cluster = entry(config, 'clusters', context.cluster, 'cluster', path);
  const user = entry(config, 'users', context.user, 'user', path);
  const pem = (from: Readonly<Record<string, unknown>>, key: string): string | null => {
    const inline = from[`${key}-data`];
    if (typeof inline === 'string') return Buffer.from(inline, 'base64').toString('utf8');
    return typeof from[key] === 'string' ? readFile(from[key]) : null;
  };
  if (typeof cluster.server !== 'string') throw badConfig(path, 'the cluster has no server');
  if (user.exec !== undefined || user['auth-provider'] !== undefined) {
    throw badConfig(path, 'users with exec or auth-provider are not supported, want a certificate or a token');
  }
  const { token, tokenFile } = user;
  return {
    url: cluster.server,
    caPem: pem(cluster, 'certificate-authority'),
    certPem: pem(user, 'client-certificate'),
    keyPem: pem(user, 'client-key'),
    token: () => {
      if (typeof tokenFile === 'string') return readFile(tokenFile).trim();
      return typeof token === 'string' ? token : null;
    },
  };
}

function readKubeconfig(path: string, readFile: ReadFile): Readonly<Record<string, unknown>> {
  let config: unknown;
  try {
    config = parse(readFile(path));
  } catch (cause) {
    throw badConfig(path, cause instanceof Error ? cause.message : String(cause));
  }
  if (typeof config !== 'object' || config === null) throw badConfig(path, 'it is empty');
  return config as Readonly<Record<string, unknown>>;
}

function entry(
  config: Readonly<Record<string, unknown>>,
  list: string,
  name: unknown,
  field: string,
  path: string,
): Readonly<Record<string, unknown>> {
  const all = (Array.isArray(config[list]) ? config[list] : []) as readonly Named[];
  const found = all.find((one) => one.name === name)?.[field];
  if (typeof found === 'object' && found !== null) return found as Readonly<Record<string, unknown>>;
  throw badConfig(path, `${list} has no ${JSON.stringify(name)}`);
}

function badConfig(path: string, reason: string): CodedError {
  return new CodedError('bad_config', `cannot use the kubeconfig ${JSON.stringify(path)}: ${reason}`);
}
