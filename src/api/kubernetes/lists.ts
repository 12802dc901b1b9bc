/** Answers as documents: value lists of each API version, and the tables that kubectl prints. */
import { formatTime } from '../../scaling/diagnosis.ts';
import { formatQuantity } from '../../scaling/quantity.ts';
import { GROUPS } from './adapter/rules.ts';
import type { ObjectItem, ObjectList } from './custom-metrics.ts';
import type { MetricItem, MetricList } from './external-metrics.ts';
import type { Requirement } from './label-selector.ts';

export type CustomVersion = 'v1beta1' | 'v1beta2';

export function externalList(metric: string, { items, timeMs }: MetricList): object {
  return {
    kind: 'ExternalMetricValueList',
    apiVersion: `${GROUPS.external}/v1beta1`,
    metadata: {},
    items: items.map((item) => externalItem(metric, item, timeMs)),
  };
}

/** One item as an object of its own, for watches. */
export function externalObject(metric: string, item: MetricItem, timeMs: number): object {
  const apiVersion = `${GROUPS.external}/v1beta1`;
  return { kind: 'ExternalMetricValue', apiVersion, metadata: {}, ...externalItem(metric, item, timeMs) };
}

function externalItem(metric: string, { labels, value }: MetricItem, timeMs: number): object {
  return { metricName: metric, metricLabels: labels, timestamp: formatTime(timeMs), value: formatQuantity(value) };
}

export function customList(
  version: CustomVersion,
  metric: string,
  { items, timeMs, metricSelector }: ObjectList,
): object {
  const selector = metricSelector.length === 0 ? null : labelSelectorObject(metricSelector);
  return {
    kind: 'MetricValueList',
    apiVersion: `${GROUPS.custom}/${version}`,
    metadata: {},
    items: items.map((item) => customItem(version, metric, selector, item, timeMs)),
  };
}

function customItem(
  version: CustomVersion,
  metric: string,
  selector: object | null,
  { kind, name, namespace, value }: ObjectItem,
  timeMs: number,
): object {
  const describedObject = {
    kind: kind.kind,
    ...(namespace === null ? {} : { namespace }),
    name,
    apiVersion: `${kind.group}/${kind.version}`,
  };
  const measured = { timestamp: formatTime(timeMs), value: formatQuantity(value) };
  if (version === 'v1beta2') return { describedObject, metric: { name: metric, selector }, ...measured };
  return { describedObject, metricName: metric, ...measured, selector };
}

/** The LabelSelector object that means the same. */
export function labelSelectorObject(requirements: readonly Requirement[]): object {
  const matchLabels: Record<string, string> = {};
  const matchExpressions: object[] = [];
  for (const { key, operator, values } of requirements) {
    if (operator === '=' && !(key in matchLabels)) matchLabels[key] = values[0]!;
    else matchExpressions.push({ key, operator: OPERATOR_NAMES[operator], ...(values.length > 0 ? { values } : {}) });
  }
  return {
    ...(Object.keys(matchLabels).length > 0 ? { matchLabels } : {}),
    ...(matchExpressions.length > 0 ? { matchExpressions } : {}),
  };
}

const OPERATOR_NAMES: Readonly<Record<Requirement['operator'], string>> = {
  '=': 'In',
  in: 'In',
  '!=': 'NotIn',
  notin: 'NotIn',
  exists: 'Exists',
  absent: 'DoesNotExist',
  '>': 'Gt',
  '<': 'Lt',
};

interface Column {
  readonly name: string;
  readonly type: 'string';
  readonly format: string;
  readonly description: string;
  /** 1 shows with `-o wide` only. */
  readonly priority: 0 | 1;
}

const EXTERNAL_COLUMNS: readonly Column[] = [
  column('Metric', 'name', 0, 'Name of the external metric.'),
  column('Value', '', 0, 'Value that an HPA is told.'),
  column('Sampled', '', 0, 'Time of the newest sample that was read.'),
  column('Labels', '', 1, 'Labels of the result.'),
];
const CUSTOM_COLUMNS: readonly Column[] = [
  column('Object', 'name', 0, 'Kind and name of the object.'),
  column('Metric', '', 0, 'Name of the metric.'),
  column('Value', '', 0, 'Value that an HPA is told.'),
  column('Sampled', '', 1, 'Time of the newest sample that was read.'),
];

/** A watch names the columns once. */
export function externalTable(metric: string, namespace: string, list: MetricList, withColumns = true): object {
  const rows = list.items.map(({ labels, value }) => {
    const cells = [metric, formatQuantity(value), formatTime(list.timeMs), JSON.stringify(labels)];
    return { cells, object: partialObject(metric, namespace) };
  });
  return table(withColumns ? EXTERNAL_COLUMNS : [], rows);
}

export function customTable(metric: string, { items, timeMs }: ObjectList): object {
  const rows = items.map(({ kind, name, namespace, value }) => {
    const cells = [`${kind.singular}/${name}`, metric, formatQuantity(value), formatTime(timeMs)];
    return { cells, object: partialObject(name, namespace) };
  });
  return table(CUSTOM_COLUMNS, rows);
}

function table(columnDefinitions: readonly Column[], rows: readonly object[]): object {
  return { kind: 'Table', apiVersion: 'meta.k8s.io/v1', metadata: {}, columnDefinitions, rows };
}

function partialObject(name: string, namespace: string | null): object {
  const metadata = { name, ...(namespace === null ? {} : { namespace }), creationTimestamp: null };
  return { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata };
}

function column(name: string, format: string, priority: 0 | 1, description: string): Column {
  return { name, type: 'string', format, description, priority };
}
