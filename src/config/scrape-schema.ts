/** What `scrape:` of the YAML file says, in Prometheus' words: jobs with static targets or pods, and monitors of the cluster. */
import type { RelabelRule } from '../model/relabel.ts';

export interface ScrapeConfig {
  readonly jobs: readonly ScrapeJob[];
  readonly serviceMonitors: MonitorSource | null;
  readonly podMonitors: MonitorSource | null;
  /** How often and for how long at most, for those who do not say so themselves. */
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** As it was written, without secrets. */
  readonly written: unknown;
}

export interface ScrapeJob {
  readonly name: string;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly metricsPath: string;
  readonly scheme: 'http' | 'https';
  readonly params: Readonly<Record<string, readonly string[]>>;
  readonly honorLabels: boolean;
  readonly honorTimestamps: boolean;
  readonly basicAuth: BasicAuth | null;
  readonly authorization: Authorization | null;
  readonly tls: ScrapeTls;
  readonly followRedirects: boolean;
  readonly bodyBytesMax: number;
  readonly samplesMax: number;
  readonly relabel: readonly RelabelRule[];
  readonly metricRelabel: readonly RelabelRule[];
  readonly staticTargets: readonly StaticTargets[];
  readonly pods: readonly PodSource[];
}

export interface StaticTargets {
  /** `host:port` */
  readonly targets: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

/** Of a password or token, either the text or the file is ''. */
export interface BasicAuth {
  readonly username: string;
  readonly password: string;
  readonly passwordFile: string;
}

export interface Authorization {
  readonly type: string;
  readonly credentials: string;
  readonly credentialsFile: string;
}

/** Files are '' where none is given. */
export interface ScrapeTls {
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
  readonly serverName: string;
  readonly insecureSkipVerify: boolean;
}

/** Pods of the cluster. */
export interface PodSource {
  /** Empty for all. */
  readonly namespaces: readonly string[];
  readonly ownNamespace: boolean;
  /** Label and field selectors, as the API server reads them; '' for none. */
  readonly labelSelector: string;
  readonly fieldSelector: string;
  /** Only pods with `prometheus.io/scrape: "true"`, at the port, path and scheme that their annotations name. */
  readonly annotations: boolean;
}

/** ServiceMonitors or PodMonitors of the cluster. */
export interface MonitorSource {
  /** Namespaces of the monitors, and of what they select; empty for all. */
  readonly namespaces: readonly string[];
  /** Of the monitors' own labels; '' for all. */
  readonly labelSelector: string;
  /** Whatever a monitor says, its series carry the namespace of what was scraped. */
  readonly enforceNamespace: boolean;
}

export const NO_TLS: ScrapeTls = { caFile: '', certFile: '', keyFile: '', serverName: '', insecureSkipVerify: false };
