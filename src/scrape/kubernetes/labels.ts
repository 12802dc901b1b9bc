/**
 * The `__meta_kubernetes_…` labels of pods, services and their endpoints, for relabelling.
 * Source: https://prometheus.io/docs/prometheus/latest/configuration/configuration/#kubernetes_sd_config
 */
import type { Container, Pod, Service } from './objects.ts';

const META = '__meta_kubernetes_';

export function podLabels(pod: Pod): [string, string][] {
  const labels: [string, string][] = [
    [`${META}namespace`, pod.namespace],
    [`${META}pod_name`, pod.name],
    [`${META}pod_ip`, pod.ip],
    [`${META}pod_ready`, String(pod.isReady)],
    [`${META}pod_phase`, pod.phase],
    [`${META}pod_node_name`, pod.node],
    [`${META}pod_host_ip`, pod.hostIp],
    [`${META}pod_uid`, pod.uid],
    [`${META}pod_controller_kind`, pod.controllerKind],
    [`${META}pod_controller_name`, pod.controllerName],
  ];
  return [...labels, ...texts('pod_label', pod.labels), ...texts('pod_annotation', pod.annotations)];
}

export function containerLabels(container: Container, port: Container['ports'][number] | null): [string, string][] {
  const labels: [string, string][] = [
    [`${META}pod_container_name`, container.name],
    [`${META}pod_container_image`, container.image],
    [`${META}pod_container_init`, String(container.isInit)],
  ];
  if (port === null) return labels;
  labels.push([`${META}pod_container_port_name`, port.name]);
  labels.push([`${META}pod_container_port_number`, String(port.number)]);
  labels.push([`${META}pod_container_port_protocol`, port.protocol]);
  return labels;
}

export function serviceLabels(service: Service): [string, string][] {
  const labels: [string, string][] = [
    [`${META}namespace`, service.namespace],
    [`${META}service_name`, service.name],
    [`${META}endpoints_name`, service.name],
  ];
  return [...labels, ...texts('service_label', service.labels), ...texts('service_annotation', service.annotations)];
}

/** Labels and annotations of an object: each, and that it is there. */
function texts(what: string, all: Readonly<Record<string, string>>): [string, string][] {
  return Object.entries(all).flatMap(([name, value]) => {
    const label = name.replace(/[^a-zA-Z0-9_]/g, '_');
    return [
      [`${META}${what}_${label}`, value],
      [`${META}${what}present_${label}`, 'true'],
    ] as [string, string][];
  });
}

/** `host:port`; IPv6 in brackets. */
export function addressOf(ip: string, port: number | null): string {
  const host = ip.includes(':') ? `[${ip}]` : ip;
  return port === null ? host : `${host}:${port}`;
}
