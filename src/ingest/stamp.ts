/**
 * The namespace that the identity of a sender puts on each of its series, whatever the sender says. What it says otherwise,
 * in any label that is read as a namespace, is kept under `exported_…`, as Prometheus does with labels of a target that
 * conflict with its own. The kernel does the same for remote-write, but for what is rare (tsdb/kernel/assembly/stamp.ts).
 */
import { type Labels, labelValue } from '../model/labels.ts';
import { NAMESPACE_LABELS } from '../model/scope.ts';
import type { Reason } from './reasons.ts';
import { labelsRefusal, withLabel } from './series-labels.ts';

const STAMP = NAMESPACE_LABELS[0];

/** The labels of a series with the stamp of its sender, '' for none; or why there can be none. */
export function stampedLabels(labels: Labels | Reason, stamp: string): Labels | Reason {
  if (stamp === '' || typeof labels === 'string') return labels;
  const stamped = withStamp(labels, stamp);
  return labelsRefusal(stamped) ?? stamped;
}

/** The labels with the stamp. Whether a series may have them is not asked. */
export function withStamp(labels: Labels, stamp: string): Labels {
  if (stamp === '') return labels;
  return withLabel(saysOther(labels, stamp) ? withoutOthers(labels, stamp) : labels, STAMP, stamp);
}

/** True if a label says another namespace. */
function saysOther(labels: Labels, stamp: string): boolean {
  for (let i = 0; i < labels.length; i += 2) if (isOther(labels, i, stamp)) return true;
  return false;
}

function isOther(labels: Labels, i: number, stamp: string): boolean {
  return (NAMESPACE_LABELS as readonly string[]).includes(labels[i]!) && labels[i + 1] !== stamp;
}

/** The labels with `exported_` before each name that says another namespace, as often as it takes to be a new name. */
function withoutOthers(labels: Labels, stamp: string): Labels {
  let kept: Labels = labels.filter((_, i) => !isOther(labels, i & ~1, stamp));
  for (let i = 0; i < labels.length; i += 2) {
    if (!isOther(labels, i, stamp)) continue;
    let name = `exported_${labels[i]!}`;
    while (labelValue(kept, name) !== '') name = `exported_${name}`;
    kept = withLabel(kept, name, labels[i + 1]!);
  }
  return kept;
}
