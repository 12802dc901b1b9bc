/**
 * What is kept of the cluster's objects to find targets: of a Pod, Service or EndpointSlice a few fields, in shapes of our own;
 * of a monitor its spec, as it was written.
 * Source: https://kubernetes.io/docs/reference/kubernetes-api/
 */
import type { KubeObject } from '../../api/kubernetes/cluster/reflector.ts';

type Texts = Readonly<Record<string, string>>;

interface Named {
  readonly name: string;
  readonly namespace: string;
  readonly labels: Texts;
  readonly annotations: Texts;
}

export interface Pod extends Named {
  readonly ip: string;
  readonly hostIp: string;
  readonly node: string;
  readonly uid: string;
  readonly phase: string;
  readonly isReady: boolean;
  readonly controllerKind: string;
  readonly controllerName: string;
  readonly containers: readonly Container[];
}

export interface Container {
  readonly name: string;
  readonly image: string;
  readonly isInit: boolean;
  readonly ports: readonly { readonly name: string; readonly number: number; readonly protocol: string }[];
}

export interface Service extends Named {}

export interface EndpointSlice {
  readonly name: string;
  readonly namespace: string;
  readonly service: string;
  readonly ports: readonly { readonly name: string; readonly number: number }[];
  /** Those that stand for pods. */
  readonly endpoints: readonly { readonly address: string; readonly pod: string }[];
}

export interface Monitor extends Named {
  readonly spec: Readonly<Record<string, unknown>>;
}

type Json = Readonly<Record<string, unknown>>;

export function podOf(object: KubeObject): Pod {
  const [spec, status] = [json(object.spec), json(object.status)];
  const metadata = json(object.metadata);
  const owner = list(metadata.ownerReferences).find(({ controller }) => controller === true) ?? {};
  const ready = list(status.conditions).find(({ type }) => type === 'Ready');
  return {
    ...named(object),
    ip: text(status.podIP),
    hostIp: text(status.hostIP),
    node: text(spec.nodeName),
    uid: text(metadata.uid),
    phase: text(status.phase),
    isReady: ready?.status === 'True',
    controllerKind: text(owner.kind),
    controllerName: text(owner.name),
    containers: [
      ...list(spec.containers).map((one) => containerOf(one, false)),
      ...list(spec.initContainers).map((one) => containerOf(one, true)),
    ],
  };
}

function containerOf(container: Json, isInit: boolean): Container {
  const ports = list(container.ports).map(({ name, containerPort, protocol = 'TCP' }) => {
    return { name: text(name), number: Number(containerPort), protocol: text(protocol) };
  });
  return { name: text(container.name), image: text(container.image), isInit, ports };
}

export function serviceOf(object: KubeObject): Service {
  return named(object);
}

export function endpointSliceOf(object: KubeObject): EndpointSlice {
  const { name, namespace, labels } = named(object);
  const endpoints = list(object.endpoints).flatMap(({ addresses, targetRef }) => {
    const { kind, name: pod } = json(targetRef);
    const [address] = Array.isArray(addresses) ? (addresses as unknown[]) : [];
    return kind === 'Pod' && typeof address === 'string' ? [{ address, pod: text(pod) }] : [];
  });
  return {
    name,
    namespace,
    service: labels['kubernetes.io/service-name'] ?? '',
    ports: list(object.ports).map(({ name: port, port: number }) => ({ name: text(port), number: Number(number) })),
    endpoints,
  };
}

export function monitorOf(object: KubeObject): Monitor {
  return { ...named(object), spec: json(object.spec) };
}

function named({ metadata }: KubeObject): Named {
  const { name, namespace = '', labels = {} } = metadata;
  const { annotations } = metadata as { readonly annotations?: Texts };
  return { name, namespace, labels: labels ?? {}, annotations: annotations ?? {} };
}

export function json(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {};
}

export function list(value: unknown): readonly Json[] {
  return Array.isArray(value) ? value.map(json) : [];
}

export function text(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}
