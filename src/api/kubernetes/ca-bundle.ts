/**
 * Tells the aggregation layer whom to trust: the authority of our own certificate goes into `caBundle` of the APIServices
 * that lead to us, if we may write there. Those of others are left alone.
 */
import type { Logger } from 'pino';
import { type ClusterClient, ClusterError, statusText } from './cluster/client.ts';

export interface ServiceName {
  readonly namespace: string;
  readonly name: string;
}

interface ApiService {
  readonly spec: {
    readonly service?: { readonly namespace?: string; readonly name?: string } | null;
    readonly caBundle?: string;
    readonly insecureSkipTLSVerify?: boolean;
  };
}

/** Returns how many were changed. A refusal is logged, and is no reason to stop. */
export async function publishCaBundle(
  client: ClusterClient,
  groupVersions: readonly { readonly group: string; readonly version: string }[],
  service: ServiceName,
  caPem: string,
  logger: Logger,
): Promise<number> {
  let changed = 0;
  for (const { group, version } of groupVersions) {
    const name = `${version}.${group}`;
    try {
      if (await publishTo(client, name, service, caPem)) {
        changed++;
        logger.info(`the caBundle of the APIService ${name} was set`);
      }
    } catch (error) {
      const level = error instanceof ClusterError && error.status === 404 ? 'debug' : 'warn';
      logger[level](`cannot set the caBundle of the APIService ${name}: ${(error as Error).message}`);
    }
  }
  return changed;
}

async function publishTo(client: ClusterClient, name: string, ours: ServiceName, caPem: string): Promise<boolean> {
  const path = `/apis/apiregistration.k8s.io/v1/apiservices/${name}`;
  const { spec } = await client.get<ApiService>(path);
  if (spec.service?.name !== ours.name || spec.service.namespace !== ours.namespace) return false;
  const caBundle = Buffer.from(caPem).toString('base64');
  if (spec.caBundle === caBundle && spec.insecureSkipTLSVerify !== true) return false;
  const { status, body } = await client.call(path, {
    method: 'PATCH',
    contentType: 'application/merge-patch+json',
    body: { spec: { caBundle, insecureSkipTLSVerify: null } },
  });
  if (status < 200 || status >= 300) throw new ClusterError(status, statusText(status, body));
  return true;
}
