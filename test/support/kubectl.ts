/** kubectl against the daemon's Kubernetes surface, with a home folder of its own so that no kubeconfig and no cache is shared. */
import { type Finished, runProgram } from './process.ts';

export interface ExternalMetricValue {
  readonly metricName: string;
  readonly metricLabels: Readonly<Record<string, string>> | null;
  readonly timestamp: string;
  readonly value: string;
}

export const EXTERNAL_METRICS = '/apis/external.metrics.k8s.io/v1beta1';

export type Kubectl = (...args: readonly string[]) => Promise<Finished>;

export function kubectlFor(address: string, home: string, token = 'nobody'): Kubectl {
  // Without credentials kubectl asks for a user name at the terminal.
  const server = [`--server=https://${address}`, '--insecure-skip-tls-verify=true', `--token=${token}`];
  return (...args) => runProgram('kubectl', [...server, ...args], { env: { HOME: home } });
}

/** What an HPA would read; a failing kubectl is an error with its message. */
export async function readExternalMetric(kubectl: Kubectl, path: string): Promise<readonly ExternalMetricValue[]> {
  const done = await kubectl('get', '--raw', `${EXTERNAL_METRICS}/namespaces/${path}`);
  if (done.code !== 0) throw new Error(`kubectl failed for ${path}: ${done.stderr}`);
  const list = JSON.parse(done.stdout) as { readonly kind: string; readonly items: readonly ExternalMetricValue[] };
  if (list.kind !== 'ExternalMetricValueList') throw new Error(`cannot read ${path}: got a ${list.kind}`);
  return list.items;
}

const SUFFIXES: Readonly<Record<string, number>> = {
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
};

/** The number of a Kubernetes quantity in the canonical decimal form. */
export function quantityValue(text: string): number {
  const match = /^(-?\d+)([mkMGTPE]?)$/.exec(text);
  if (match === null) throw new Error(`cannot read quantity: ${text}`);
  // Dividing by 1000 rounds once, multiplying by 0.001 twice.
  return match[2] === 'm' ? Number(match[1]) / 1000 : Number(match[1]) * SUFFIXES[match[2]!]!;
}
